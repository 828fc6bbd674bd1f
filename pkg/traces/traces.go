// Package traces sends spans to an OpenTelemetry collector, if one is named.
package traces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Variables of OpenTelemetry's specification, any of which names a collector.
const (
	endpointVariable       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	tracesEndpointVariable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	disabledVariable       = "OTEL_SDK_DISABLED"
)

// flushTime bounds what is waited for the collector at the end.
const flushTime = 3 * time.Second

// Provider makes tracers.
type Provider struct {
	trace.TracerProvider
	sdk *sdktrace.TracerProvider // nil: off
}

// Options of a provider.
type Options struct {
	Service  string // what spans call the program, unless the environment does
	Endpoint string // URL of the collector (http:// or https://); "": the one that the environment names, if any
	// Sampler decides which spans are made; nil: the one that the environment
	// names, or all.
	Sampler sdktrace.Sampler
	Log     *slog.Logger
}

// Open sends spans to a collector, if one is named. Spans wait in a queue of 2048
// (OTEL_BSP_MAX_QUEUE_SIZE); whoever makes more loses them, and a collector that
// is away costs the spans and nothing else.
func Open(ctx context.Context, o Options) (*Provider, error) {
	named := o.Endpoint != "" || os.Getenv(endpointVariable) != "" || os.Getenv(tracesEndpointVariable) != ""
	if !named || os.Getenv(disabledVariable) == "true" {
		return &Provider{TracerProvider: noop.NewTracerProvider()}, nil
	}
	var opts []otlptracegrpc.Option
	if o.Endpoint != "" {
		if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("the collector of spans %q: want a URL, as http://collector:4317", o.Endpoint)
		}
		opts = append(opts, otlptracegrpc.WithEndpointURL(o.Endpoint))
	}
	exporter, err := otlptracegrpc.New(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("opening the exporter of spans: %w", err)
	}
	// The service's name and the sampler can be set by the environment, too.
	what, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", o.Service)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		o.Log.Warn("some attributes of spans are not known", "error", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Log.Warn("sending spans", "error", err) }))
	with := []sdktrace.TracerProviderOption{sdktrace.WithBatcher(exporter), sdktrace.WithResource(what)}
	if o.Sampler != nil {
		with = append(with, sdktrace.WithSampler(o.Sampler))
	}
	sdk := sdktrace.NewTracerProvider(with...)
	return &Provider{TracerProvider: sdk, sdk: sdk}, nil
}

// On reports whether anybody collects spans.
func (p *Provider) On() bool { return p.sdk != nil }

// Close sends what is left.
func (p *Provider) Close() error {
	if p.sdk == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	err := p.sdk.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("the collector of spans did not answer")
	}
	return err
}
