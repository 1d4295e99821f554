package dynamodb

import (
	"container/list"
	"context"
	"sync"
)

// pagesKept bounds the pages in memory, about half a kilobyte each.
const pagesKept = 4096

// pages keeps the pages of histories that were read last. They never change,
// so a large quota costs its reads once, not with each attempt of each group.
type pages struct {
	mu    sync.Mutex
	byKey map[key]*list.Element
	order list.List // of keptPage, the latest used first
}

type keptPage struct {
	key  key
	page page
}

func (c *pages) get(k key) (page, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[k]
	if !ok {
		return page{}, false
	}
	c.order.MoveToFront(e)
	return e.Value.(keptPage).page, true
}

func (c *pages) put(k key, p page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[key]*list.Element{}
	}
	if _, ok := c.byKey[k]; ok {
		return
	}
	c.byKey[k] = c.order.PushFront(keptPage{k, p})
	if oldest := c.order.Back(); len(c.byKey) > pagesKept {
		c.order.Remove(oldest)
		delete(c.byKey, oldest.Value.(keptPage).key)
	}
}

// page returns a page of a history that is stored. With one that isn't in
// memory it gets the earlier ones that the same count may come to, want in all,
// in the same call.
func (s *Store) page(ctx context.Context, history key, n int64, want int) (page, error) {
	k := pageKey(history, n)
	if p, ok := s.pages.get(k); ok {
		return p, nil
	}
	missing, numbers := []key{k}, map[key]int64{k: n}
	for m := n - 1; m > 0 && n-m < int64(want) && len(missing) < maxKeys; m-- {
		k := pageKey(history, m)
		if _, ok := s.pages.get(k); !ok {
			missing, numbers[k] = append(missing, k), m
		}
	}
	found, err := s.getAll(ctx, missing)
	if err != nil {
		return page{}, err
	}
	for _, other := range missing[1:] { // what is damaged is the trouble of whoever comes to it
		if p, err := decodePage(numbers[other], found[other]); err == nil {
			s.pages.put(other, p)
		}
	}
	p, err := decodePage(n, found[k])
	if err != nil {
		return page{}, damage(k, err)
	}
	s.pages.put(k, p)
	return p, nil
}
