package stability

// Calls is how the calls that a policy has seen ended, counted since it was made.
// Every call that a policy let run or refused is in exactly one of the four, once it
// has ended. One whose context had ended before it came is in none.
type Calls struct {
	Succeeded int64 // ran, and were a [Success]
	Failed    int64 // ran, and were a [Failure]
	Ignored   int64 // ran, and were [Ignored]
	Rejected  int64 // refused by this policy, and not run
}

// Started returns how many calls the policy let run and has seen end.
func (c Calls) Started() int64 { return c.Succeeded + c.Failed + c.Ignored }
