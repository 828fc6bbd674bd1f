package grpcjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// json appends the JSON of a message.
func (d *download) json(dst, wire []byte) ([]byte, error) {
	err := inTurn(d.in.Context(), d.budget, len(wire), func() (err error) {
		dst, err = d.convert(dst, wire)
		return err
	})
	if err == nil && !d.share.Set(len(dst)) {
		err = errBudget
	}
	return dst, err
}

func (d *download) convert(dst, wire []byte) ([]byte, error) {
	begin := len(dst)
	dst, err := d.call.Response(dst, wire, d.conf.Print)
	if err != nil {
		if errors.Is(err, pbjson.ErrLarge) {
			return dst, fmt.Errorf("%w: as JSON it has more than %d bytes", errTooLarge, d.conf.Print.Limit)
		}
		return dst, newProblem(http.StatusBadGateway, reasonResponse, "the server's answer is no "+string(d.call.Method.Output.Desc.FullName())+": "+err.Error())
	}
	if !d.conf.Indent || d.call.Method.ServerStreams && d.style != resource.StreamArray {
		return dst, nil
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, dst[begin:], "", " "); err != nil {
		return dst, newProblem(http.StatusBadGateway, reasonResponse, err.Error())
	}
	return append(dst[:begin], pretty.Bytes()...), nil
}

// raw passes the data of a google.api.HttpBody on.
func (d *download) raw(wire []byte) error {
	contentType, data, err := d.call.RawBody(wire)
	if err != nil {
		return newProblem(http.StatusBadGateway, reasonResponse, "the server's answer is no google.api.HttpBody")
	}
	if d.rawType == "" {
		d.rawType = contentType
	}
	if !d.call.Method.ServerStreams {
		if !d.share.Set(len(data)) {
			return errBudget
		}
		d.body = bytes.Clone(data)
		return nil
	}
	if !d.begun {
		d.begin(d.rawContentType())
	}
	_, err = d.w.Write(data)
	return err
}

func (d *download) rawContentType() string {
	if d.rawType == "" || strings.ContainsAny(d.rawType, "\r\n\x00") {
		return "application/octet-stream"
	}
	return d.rawType
}
