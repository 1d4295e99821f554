package dynamodb

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"breakglass/internal/breakglass"
)

var (
	_ breakglass.Store   = (*Store)(nil)
	_ breakglass.Journal = (*Store)(nil)
)

// ErrClosed is what every method returns after Close.
var ErrClosed = errors.New("the store is closed")

// Options say which table it is. Table is required.
type Options struct {
	Table string
	// Endpoint replaces the regional endpoint, for emulators and VPC endpoints.
	Endpoint string
	Log      *slog.Logger     // default: nothing is logged
	Now      func() time.Time // default time.Now; nothing that is stored depends on it

	CallTimeout time.Duration // of one call to DynamoDB; default 2 s
	Patience    time.Duration // of one transaction with all its repetitions; default 8 s
	PollEvery   time.Duration // how often the head is read for what other servers wrote; default 250 ms
	// InspectEvery is how often the table is asked whether it deletes items by
	// itself; default 1 h.
	InspectEvery time.Duration
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&o.CallTimeout, 2*time.Second)
	set(&o.Patience, 8*time.Second)
	set(&o.PollEvery, 250*time.Millisecond)
	set(&o.InspectEvery, time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is a DynamoDB table. It is safe for concurrent use, and for use by
// several servers at once.
type Store struct {
	client *ddb.Client
	opts   Options
	health health
	doubts doubts
	turns  turns
	pages  pages

	seen    atomic.Int64                  // seq of the newest entry that this server knows of
	changed atomic.Pointer[chan struct{}] // closed and replaced when seen moves
	sinks   sync.Map                      // names that are registered
	ttl     atomic.Bool                   // the table deletes items by itself

	mu       sync.RWMutex // guards closed, and requests against a send after its close
	closed   bool
	requests chan *request
	stop     context.CancelFunc // of what runs in the background
	life     context.Context    // of transactions; it ends some time after Close has begun
	end      context.CancelFunc // of life
	running  sync.WaitGroup
	closing  chan struct{} // closed when Close begins
	done     chan struct{} // closed when everything has ended
}

// Open opens the table that cfg and opts name. It refuses one that lacks what
// the server needs, and one whose layout is newer than this program.
func Open(ctx context.Context, cfg aws.Config, opts Options) (*Store, error) {
	s := &Store{client: newClient(cfg, opts), opts: opts.withDefaults(), requests: make(chan *request, 256),
		closing: make(chan struct{}), done: make(chan struct{})}
	first := make(chan struct{})
	s.changed.Store(&first)
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	s.life, s.end = context.WithCancel(context.Background())
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.running.Go(s.commitLoop)
	s.running.Go(func() { s.watch(background) })
	s.running.Go(func() { s.watchTTL(background) })
	return s, nil
}

func newClient(cfg aws.Config, opts Options) *ddb.Client {
	return ddb.NewFromConfig(cfg, func(o *ddb.Options) {
		// Only our own configuration says where the trail goes: not
		// AWS_ENDPOINT_URL in the environment, nor endpoint_url in ~/.aws.
		o.BaseEndpoint = nil
		if opts.Endpoint != "" {
			o.BaseEndpoint = aws.String(opts.Endpoint)
		}
		// Callers by the hundred wait for few calls; idle connections cost
		// nothing beside a handshake in an emergency.
		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(maxIdle)
		o.Retryer = retry.NewStandard(func(so *retry.StandardOptions) {
			so.MaxAttempts = 3
			so.MaxBackoff = maxBackoff
			// The SDK's quota would stop retries of one call because others failed.
			so.RateLimiter = ratelimit.None
		})
	})
}

// Close stops accepting transactions and finishes those that were accepted.
// While DynamoDB doesn't answer it waits as long as for one transaction; those
// that aren't finished by then fail. Calling it again does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.done
		return nil
	}
	s.closed = true
	close(s.requests)
	close(s.closing)
	s.mu.Unlock()
	s.stop()
	timer := time.AfterFunc(s.opts.Patience, s.end)
	s.running.Wait()
	timer.Stop()
	s.end()
	close(s.done)
	return nil
}
