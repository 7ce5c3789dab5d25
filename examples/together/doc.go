// Package together holds the parts of this library to one rule: used together, with
// every default on, they are never worse than plain net/http in the same place. Each
// cell of its matrix is a small world in virtual time: clients, servers, a load and
// perhaps something that goes wrong, run once with this library on both sides and
// once with net/http alone. The page docs/TOGETHER.md has the figures of every cell;
// the tests see to it that they are its.
//
//	go test ./examples/together           # holds the library to the rule, and the page to the tests
//	go test ./examples/together -update   # writes the page; make together does the same
package together
