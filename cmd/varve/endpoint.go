package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
)

func (a *app) endpointCommand() *cobra.Command {
	var port int
	start := &cobra.Command{
		Use: "start BRANCH", Short: "Build a Postgres from storage at the branch's head and start it",
		Long: "Build a Postgres from storage at the branch's head, start it and print its URL.\n" +
			"Each step is told on standard error. Ctrl-C calls the start off.",
		Args: exactArgs("BRANCH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := control.ValidateName(args[0]); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			endpoint, err := client.StartEndpoint(cmd.Context(), args[0], port, func(step string) { talk("%s", step) })
			if err != nil {
				return interrupted(cmd.Context(), err, "the start is called off; if `varve status` shows that it was done already, `varve endpoint stop %s` undoes it", args[0])
			}
			talk("endpoint %s runs from %s in term %d, Postgres has pid %d", endpoint.Branch, endpoint.Start, endpoint.Term, endpoint.PID)
			return a.printValue(endpoint, endpoint.URL)
		},
	}
	start.Flags().IntVar(&port, "port", 0, "TCP port (default: the one it had, or any free one)")
	stop := &cobra.Command{
		Use: "stop BRANCH", Short: "Stop the branch's Postgres cleanly; its directory stays until the next start",
		Long: "Stop the branch's Postgres cleanly and print its directory, which stays until the next start.\n" +
			"A reader, made by `varve psql BRANCH@LSN`, goes by the name that `varve status` shows.",
		Args: exactArgs("BRANCH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := validateEndpointID(args[0]); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			endpoint, err := client.StopEndpoint(cmd.Context(), args[0])
			if err != nil {
				err = interrupted(cmd.Context(), err, "it goes on stopping; `varve status` shows when it has stopped")
				return notRunning(cmd.Context(), client, args[0], err)
			}
			if endpoint.DataDir == "" {
				talk("endpoint %s had not started yet, and does not", args[0])
				return a.printDone(endpoint)
			}
			talk("endpoint %s stopped; its directory is %s", args[0], endpoint.DataDir)
			return a.printValue(endpoint, endpoint.DataDir)
		},
	}
	return group(&cobra.Command{Use: "endpoint", Aliases: []string{"endpoints"}, Short: "Start and stop the Postgres of a branch"}, start, stop)
}

// validateEndpointID checks a branch's name, or a reader's, which begins with one.
func validateEndpointID(id string) error {
	branch, _, _ := strings.Cut(id, ".")
	return control.ValidateName(branch)
}

// notRunning makes an error that no endpoint runs say that there is not even a branch,
// if so.
func notRunning(ctx context.Context, client *control.Client, id string, err error) error {
	if control.CodeOf(err) != control.CodeNotFound || strings.Contains(id, ".") {
		return err
	}
	branches, listErr := client.Branches(ctx)
	if listErr != nil || slices.ContainsFunc(branches, func(b control.Branch) bool { return b.Name == id }) {
		return err
	}
	return noBranch(id)
}
