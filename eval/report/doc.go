// Package report writes what was measured as one HTML page that needs nothing but itself: a
// [Page] of texts, tables and pictures becomes report.html, with the style sheet and the
// pictures inside, and each picture also beside it as NAME.svg and NAME.png. It is
// for light and dark screens, wide and narrow ones, and for paper; it has no script.
package report
