// Package simulator measures how fast simulated time passes.
package simulator
