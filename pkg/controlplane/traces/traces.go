// Package traces sends spans to an OpenTelemetry collector, if one is named.
package traces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

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

// Open sends spans to the given URL (http:// or https://), or to the one that
// the environment names; to none if neither does. A collector that is away costs
// the spans and nothing else.
func Open(ctx context.Context, endpoint string, log *slog.Logger) (*Provider, error) {
	named := endpoint != "" || os.Getenv(endpointVariable) != "" || os.Getenv(tracesEndpointVariable) != ""
	if !named || os.Getenv(disabledVariable) == "true" {
		return &Provider{TracerProvider: noop.NewTracerProvider()}, nil
	}
	var opts []otlptracegrpc.Option
	if endpoint != "" {
		opts = append(opts, otlptracegrpc.WithEndpointURL(endpoint))
	}
	exporter, err := otlptracegrpc.New(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("opening the exporter of spans: %w", err)
	}
	// The service's name and the sampler can be set by the environment, too.
	what, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "dragoman-controlplane")),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		log.Warn("some attributes of spans are not known", "error", err)
	}
	sdk := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(what))
	return &Provider{TracerProvider: sdk, sdk: sdk}, nil
}

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
