// Package coldstart measures how long it takes until a PostgreSQL on Varve answers its
// first query.
package coldstart
