package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"
)

// What the conversion of JSON to JSON is about: an order, as clients send it, and
// what the origin answers.
const (
	order = `{"id":1001,"debug":true,"customer":{"name":"Ada Lovelace","address":{"city":"London","zip":"N1 7AA"}},` +
		`"items":[{"sku":"sku-1","quantity":2,"price":12.50},{"sku":"sku-2","quantity":1,"price":99.00},{"sku":"sku-3","quantity":12,"price":0.75}],"total":133.00}`
	accepted = `{"order_id":"A-1001","order_state":"accepted","total_amount":133.00,"eta":{"from":"2026-01-05","to":"2026-01-07"},"note":"thank you"}`

	// orderDocument has the ports of the listener and of the origin.
	orderDocument = `apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: bench}
spec:
  api:
    listen: {port: %d}
    upstream: {address: "127.0.0.1:%d"}
    routes:
    - match: {method: POST, path: /v2/orders}
      request:
        path: /orders
        body:
          from: json
          to: json
          map:
            drop: [debug]
            move: {customer.name: buyer, customer.address.city: city, "items[].sku": "items[].code"}
            default: {currency: EUR}
            constant: {version: "1"}
            coerce: {"items[].quantity": string}
      response:
        body:
          from: json
          to: json
          map:
            move: {order_id: id, order_state: status, total_amount: total}
`
)

// The types of the program that is written by hand.
type (
	clientOrder struct {
		ID       json.Number `json:"id"`
		Customer struct {
			Name    string `json:"name"`
			Address struct {
				City string `json:"city"`
				Zip  string `json:"zip"`
			} `json:"address"`
		} `json:"customer"`
		Items    []clientItem `json:"items"`
		Total    json.Number  `json:"total"`
		Currency string       `json:"currency"`
	}
	clientItem struct {
		SKU      string      `json:"sku"`
		Quantity json.Number `json:"quantity"`
		Price    json.Number `json:"price"`
	}

	originOrder struct {
		ID       json.Number    `json:"id"`
		Customer originCustomer `json:"customer"`
		Items    []originItem   `json:"items"`
		Total    json.Number    `json:"total"`
		Buyer    string         `json:"buyer"`
		City     string         `json:"city"`
		Currency string         `json:"currency"`
		Version  string         `json:"version"`
	}
	originCustomer struct {
		Address struct {
			Zip string `json:"zip"`
		} `json:"address"`
	}
	originItem struct {
		Quantity string      `json:"quantity"`
		Price    json.Number `json:"price"`
		Code     string      `json:"code"`
	}

	originAnswer struct {
		ID    string          `json:"order_id"`
		State string          `json:"order_state"`
		Total json.Number     `json:"total_amount"`
		ETA   json.RawMessage `json:"eta"`
		Note  string          `json:"note"`
	}
	clientAnswer struct {
		ETA   json.RawMessage `json:"eta"`
		Note  string          `json:"note"`
		ID    string          `json:"id"`
		State string          `json:"status"`
		Total json.Number     `json:"total"`
	}
)

const mostBody = 1 << 20

// convert serves orders as somebody would write it who needs just this, until it
// fails. where is the address to listen on, a comma, and the origin's.
func convert(where string) error {
	listen, origin, _ := strings.Cut(where, ",")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/orders", func(w http.ResponseWriter, r *http.Request) {
		if err := convertOrder(client, w, r, "http://"+origin+"/orders"); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	return (&http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: time.Minute}).ListenAndServe()
}

func convertOrder(client *http.Client, w http.ResponseWriter, r *http.Request, to string) error {
	var in clientOrder
	if err := json.NewDecoder(io.LimitReader(r.Body, mostBody)).Decode(&in); err != nil {
		return err
	}
	out := originOrder{
		ID: in.ID, Total: in.Total, Buyer: in.Customer.Name, City: in.Customer.Address.City, Currency: cmp.Or(in.Currency, "EUR"), Version: "1",
		Items: make([]originItem, len(in.Items)),
	}
	out.Customer.Address.Zip = in.Customer.Address.Zip
	for i, item := range in.Items {
		out.Items[i] = originItem{Quantity: item.Quantity.String(), Price: item.Price, Code: item.SKU}
	}
	body, err := json.Marshal(&out)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer originAnswer
	if err := json.NewDecoder(io.LimitReader(resp.Body, mostBody)).Decode(&answer); err != nil {
		return err
	}
	body, err = json.Marshal(&clientAnswer{ETA: answer.ETA, Note: answer.Note, ID: answer.ID, State: answer.State, Total: answer.Total})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(body)
	return err
}

// askOnce gives a contender's answer to what a conversion's clients ask for.
func askOnce(ctx context.Context, port int, k kind) ([]byte, error) {
	t := k.terms()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", port, t.path), strings.NewReader(t.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: an order is answered with %s: %.200q", errLoad, resp.Status, body)
	}
	return body, err
}

// errDiffer says that contenders do not do the same.
var errDiffer = errors.New("the contenders' answers differ")

// sameAnswers compares what the contenders answer: the order of names in an
// object is theirs.
func sameAnswers(list []*contender) error {
	var first any
	for i, c := range list {
		var v any
		if err := json.Unmarshal(c.answer, &v); err != nil {
			return fmt.Errorf("%s answers %.200q: %w", c.name, c.answer, err)
		}
		if i == 0 {
			first = v
		}
		if !reflect.DeepEqual(first, v) {
			return fmt.Errorf("%w: %s, and %s of %s", errDiffer, list[0].answer, c.answer, c.name)
		}
	}
	return nil
}
