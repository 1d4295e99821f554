package yamlfile

// IsYAML reports whether there was a document to look at. Without one the
// caller's own checks would only add noise to the problem at hand.
func (f *File) IsYAML() bool {
	_, ok := f.lines[""]
	return ok
}

// Has reports whether the file itself says anything at path.
func (f *File) Has(path string) bool {
	_, ok := f.lines[path]
	return ok
}
