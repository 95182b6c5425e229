// Package storage measures what is stored: of images, of history, of branches.
package storage
