// Package pagediff compares two copies of a page: one that the storage made from the
// log, and one that PostgreSQL made, on its disk or in an image for consistency checks.
//
// The promise: [Comparer.Compare] finds every difference but those that PostgreSQL
// itself makes without logging them. Each such reason is a [Mask], as narrow as
// PostgreSQL allows, and what it excused is counted.
//
// [Field] names what lies at an offset of a page.
package pagediff
