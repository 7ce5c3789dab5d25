package flight

// Strays returns how many keys have calls that all callers have left.
func (f *Flights[T]) Strays() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.strays)
}
