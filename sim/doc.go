// Package sim holds the simulator: the whole product in one process, from one seed.
// Its world is package world.
package sim
