// Package journal keeps the output of a run over a corpus: each record is in it
// exactly once and whole, whatever happened to the process or the machine.
//
// # Files
//
// Beside an output PATH there are
//
//	PATH.partial     the records so far, a line each
//	PATH.run         the state (bbolt): the keys of the records, how far
//	                 PATH.partial is valid, what the run was made with
//	PATH.run.N.new   PATH.run, while process N makes it
//	PATH.run.status  while a process runs: its progress, for other processes
//	PATH.records     once PATH is whole: PATH.partial, kept where PATH is not
//	                 the records as they are
//
// # What is promised, and why
//
// Records are committed in groups. A commit
//
//  1. writes the group's lines to PATH.partial behind its committed length,
//  2. forces PATH.partial to disk (fsync),
//  3. commits a transaction of PATH.run: the group's keys, the new length and
//     the checksum of everything up to it. bbolt writes its pages, forces them
//     to disk, writes its meta page and forces that too.
//
// So a key in PATH.run means a whole record on disk. What PATH.partial has past
// the committed length is of a commit that did not come to its end, and is cut
// off when the output is opened again. A file that is made or renamed is
// followed by an fsync of its directory.
//
// To finish, the state is marked as finishing; the output is made whole under a
// temporary name and forced to disk where its format is not the records', and
// renamed to PATH; the directory is forced to disk; the state is marked as
// complete. Whichever of these a crash leaves undone, the next Hold sees from the
// files that are there and does again.
//
// Opening reads all of PATH.partial and of PATH.run and compares them with
// checksums and counts kept in PATH.run, so that files that were cut, edited or
// damaged are refused by name, and never continued.
//
// One process at a time has an output: PATH.run is locked.
//
// A Journal may be used from several goroutines.
package journal
