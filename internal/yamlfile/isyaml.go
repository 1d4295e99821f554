package yamlfile

// IsYAML reports whether there was a document to look at. Without one the
// caller's own checks would only add noise to the problem at hand.
func (f *File) IsYAML() bool {
	_, ok := f.lines[""]
	return ok
}
