package s3

import (
	"fmt"
	"net/url"
	"os"
	"strings"
)

// Scheme is how the URL of a location begins.
const Scheme = "s3://"

// location is what a location's URL says.
type location struct {
	bucket string
	prefix string // of all keys: empty, or it ends with a slash
	host   string // of the server, with a port where it is not the scheme's
	secure bool   // TLS
	region string
}

// Canonical returns a location with everything written out that it leaves to the
// environment, so that it means the same in any other. Equal locations are equal texts.
func Canonical(text string) (string, error) {
	loc, err := parse(text)
	if err != nil {
		return "", err
	}
	return loc.String(), nil
}

func (l location) String() string {
	u := url.URL{Scheme: "s3", Host: l.bucket, Path: "/" + strings.TrimSuffix(l.prefix, "/")}
	scheme := "http"
	if l.secure {
		scheme = "https"
	}
	return fmt.Sprintf("%s?endpoint=%s://%s&region=%s", strings.TrimSuffix(u.String(), "/"), scheme, l.host, url.QueryEscape(l.region))
}

// parse reads a location; package doc draws it.
func parse(text string) (location, error) {
	shown := text // never with what may be a secret
	bad := func(what string, args ...any) (location, error) {
		return location{}, fmt.Errorf("bucket location %q: %s: want s3://BUCKET[/PREFIX][?endpoint=URL][&region=REGION]", shown, fmt.Sprintf(what, args...))
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme+"://" != Scheme {
		return bad("no URL of S3")
	}
	if u.User != nil {
		u.User, u.RawQuery = url.User("..."), ""
		shown = u.String()
		return bad("credentials do not belong into it, but into the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	loc := location{bucket: u.Host}
	if loc.bucket == "" {
		return bad("no bucket")
	}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		if err := checkKey(prefix); err != nil {
			return bad("%v", err)
		}
		loc.prefix = prefix + "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("%v", err)
	}
	loc.region = first(query.Get("region"), os.Getenv("AWS_REGION"), "us-east-1")
	server := first(query.Get("endpoint"), os.Getenv("AWS_ENDPOINT_URL"), "https://s3.amazonaws.com")
	query.Del("region")
	query.Del("endpoint")
	for name := range query {
		return bad("unknown option %q", name)
	}
	endpoint, err := url.Parse(server)
	if err == nil && endpoint.User != nil {
		u.RawQuery = ""
		shown = u.String()
		return bad("credentials do not belong into its endpoint, but into the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	if err != nil || endpoint.Host == "" || strings.Trim(endpoint.Path, "/") != "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" {
		return bad("endpoint %q is not http://HOST:PORT or https://HOST:PORT", server)
	}
	loc.host, loc.secure = endpoint.Host, endpoint.Scheme == "https"
	return loc, nil
}

// first returns the first of texts that is not empty.
func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// checkKey refuses the keys that the directory bucket refuses, so that whatever is stored
// in one can be copied to the other.
func checkKey(key string) error {
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || strings.HasPrefix(part, ".") {
			return fmt.Errorf("object key %q: a part is empty or begins with a dot", key)
		}
	}
	return nil
}
