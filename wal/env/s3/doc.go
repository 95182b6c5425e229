// Package s3 keeps an [env.Bucket] in a bucket of any S3 server that refuses
// conditional writes when their condition does not hold, and is strongly consistent.
//
// A location is a URL:
//
//	s3://BUCKET[/PREFIX][?endpoint=http://HOST:PORT][&region=REGION]
//
// Without an endpoint it is $AWS_ENDPOINT_URL or Amazon's, without a region $AWS_REGION
// or us-east-1. Credentials come from where Amazon's tools look for them: the environment
// (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), ~/.aws/credentials, and
// on Amazon's machines the instance's role. Nothing secret is part of a location.
//
// # Outcomes
//
// Each request is sent once by the client library; what is sent again, and what an error
// means, is decided here, because a conditional Put that is sent again after it took
// effect would meet itself and call that a lost race:
//
//	answer                          Get, Head, List    Put                  Delete
//	412, or 404 to If-Match         -                  ErrPrecondition      -
//	409, 429, 503, failed dial      again              again                again
//	other 4xx                       definite error     definite error       definite error
//	500, 502, 504, lost connection  again              unknown outcome      again, then unknown
//
// What whoever runs the server can put right has a [TroubleError] in its error.
//
// Again means at most five times, after pauses that double and vary. At most 32 requests
// are under way at a time. A server that answers 429 or 503 with a Retry-After is left alone
// so long by all of them, half a minute at most.
package s3
