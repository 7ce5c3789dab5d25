package flight

// Strays returns how many keys have calls that all callers have left.
func (f *Flights[T]) Strays() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.strays)
}

// KeySizes returns the sizes in bytes of the keys of the values kept.
func (f *Flights[T]) KeySizes() (sizes []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.kept.byKey {
		sizes = append(sizes, len(key))
	}
	return sizes
}
