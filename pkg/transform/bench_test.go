package transform_test

import (
	stdjson "encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
)

// order is some 800 bytes.
const order = `{"orderId":"A-1029384756","createdAt":"2026-03-14T09:26:53Z","currency":"EUR","customer":{"id":"99812","firstName":"Zoë","lastName":"Söhne",` +
	`"email":"zoe@example.org","address":{"street":"Hauptstraße 12","city":"Köln","zip":"50667","country":"DE"}},` +
	`"items":[{"sku":"AB-1","title":"Desk lamp, brass","qty":"2","price":39.95,"taxRate":0.19},{"sku":"CD-2","title":"Oak shelf 80 cm","qty":"1","price":129.00,"taxRate":0.19},` +
	`{"sku":"EF-3","title":"Cotton rug \"Nordic\"","qty":"4","price":24.5,"taxRate":0.19},{"sku":"GH-4","title":"Wall hook","qty":"10","price":3.2,"taxRate":0.19}],` +
	`"payment":{"method":"card","last4":"4242","authorised":"true"},"notes":"Please ring twice","internal":{"score":0.82,"segment":"B"},"tags":["new","web"]}`

func orderMap() *mapping.Map {
	return &mapping.Map{
		Drop: []string{"internal", "items[].taxRate"},
		Move: map[string]string{
			"orderId": "id", "createdAt": "created_at", "customer.firstName": "customer.first_name", "customer.lastName": "customer.last_name",
			"customer.address": "shipping", "items": "lines", "items[].qty": "lines[].quantity", "items[].price": "lines[].unit_price", "payment.method": "payment_method",
		},
		Default:  map[string]string{"channel": "web"},
		Constant: map[string]string{"version": "2"},
		Coerce:   map[string]mapping.Type{"version": mapping.Number, "lines[].quantity": mapping.Number, "payment.authorised": mapping.Boolean, "customer.id": mapping.Number},
	}
}

// These are what somebody writes by hand to do the same.
type (
	oldOrder struct {
		OrderID   string     `json:"orderId"`
		CreatedAt string     `json:"createdAt"`
		Currency  string     `json:"currency"`
		Customer  oldPerson  `json:"customer"`
		Items     []oldItem  `json:"items"`
		Payment   oldPayment `json:"payment"`
		Notes     string     `json:"notes"`
		Channel   string     `json:"channel"`
		Tags      []string   `json:"tags"`
	}
	oldPerson struct {
		ID        string  `json:"id"`
		FirstName string  `json:"firstName"`
		LastName  string  `json:"lastName"`
		Email     string  `json:"email"`
		Address   address `json:"address"`
	}
	address struct {
		Street  string `json:"street"`
		City    string `json:"city"`
		Zip     string `json:"zip"`
		Country string `json:"country"`
	}
	oldItem struct {
		SKU   string         `json:"sku"`
		Title string         `json:"title"`
		Qty   string         `json:"qty"`
		Price stdjson.Number `json:"price"`
	}
	oldPayment struct {
		Method     string `json:"method"`
		Last4      string `json:"last4"`
		Authorised string `json:"authorised"`
	}
	newOrder struct {
		ID            string     `json:"id"`
		CreatedAt     string     `json:"created_at"`
		Currency      string     `json:"currency"`
		Customer      newPerson  `json:"customer"`
		Lines         []newLine  `json:"lines"`
		Payment       newPayment `json:"payment"`
		Notes         string     `json:"notes"`
		Tags          []string   `json:"tags"`
		Shipping      address    `json:"shipping"`
		PaymentMethod string     `json:"payment_method"`
		Channel       string     `json:"channel"`
		Version       int        `json:"version"`
	}
	newPerson struct {
		ID        int    `json:"id"`
		FirstName string `json:"first_name"`
		LastName  string `json:"last_name"`
		Email     string `json:"email"`
	}
	newLine struct {
		SKU       string         `json:"sku"`
		Title     string         `json:"title"`
		Quantity  int            `json:"quantity"`
		UnitPrice stdjson.Number `json:"unit_price"`
	}
	newPayment struct {
		Last4      string `json:"last4"`
		Authorised bool   `json:"authorised"`
	}
)

// byHand does what orderMap says.
func byHand(src []byte) ([]byte, error) {
	var in oldOrder
	if err := stdjson.Unmarshal(src, &in); err != nil {
		return nil, err
	}
	id, err := strconv.Atoi(in.Customer.ID)
	if err != nil {
		return nil, fmt.Errorf("customer.id: %w", err)
	}
	authorised, err := strconv.ParseBool(in.Payment.Authorised)
	if err != nil {
		return nil, fmt.Errorf("payment.authorised: %w", err)
	}
	out := newOrder{
		ID: in.OrderID, CreatedAt: in.CreatedAt, Currency: in.Currency,
		Customer: newPerson{id, in.Customer.FirstName, in.Customer.LastName, in.Customer.Email},
		Payment:  newPayment{in.Payment.Last4, authorised}, Notes: in.Notes, Tags: in.Tags,
		Shipping: in.Customer.Address, PaymentMethod: in.Payment.Method, Channel: in.Channel, Version: 2,
	}
	if out.Channel == "" {
		out.Channel = "web"
	}
	for _, item := range in.Items {
		n, err := strconv.Atoi(item.Qty)
		if err != nil {
			return nil, fmt.Errorf("qty: %w", err)
		}
		out.Lines = append(out.Lines, newLine{item.SKU, item.Title, n, item.Price})
	}
	return stdjson.Marshal(&out)
}

func orderProgram(t testing.TB, to string) *transform.Program {
	t.Helper()
	spec := transform.Spec{From: transform.Side{Format: transform.JSON}, Map: orderMap()}
	if err := stdjson.Unmarshal([]byte(to), &spec.To); err != nil {
		t.Fatal(err)
	}
	return compile(t, &spec)
}

// TestByHand: the two that are compared do the same, but for the order of members.
func TestByHand(t *testing.T) {
	t.Parallel()
	want, err := byHand([]byte(order))
	if err != nil {
		t.Fatal(err)
	}
	got, err := orderProgram(t, `{"format":"json"}`).Apply(t.Context(), nil, []byte(order), "")
	if err != nil {
		t.Fatal(err)
	}
	sorted := compile(t, &transform.Spec{From: transform.Side{Format: transform.JSON}, To: transform.Side{Format: transform.JSON}, JQ: "."})
	want, err = sorted.Apply(t.Context(), nil, want, "")
	if err != nil {
		t.Fatal(err)
	}
	if got, err = sorted.Apply(t.Context(), nil, got, ""); err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("map:\n%s\nby hand:\n%s", got, want)
	}
}

func BenchmarkOrder(b *testing.B) {
	src := []byte(order)
	b.Run("by hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := byHand(src); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, to := range []string{`{"format":"json"}`, `{"format":"xml","xml":{"root":"order"}}`, `{"format":"soap","soap":{"operation":"order"}}`, `{"format":"msgpack"}`} {
		b.Run("map to "+to[11:14], func(b *testing.B) { apply(b, orderProgram(b, to), src) })
	}
	b.Run("no map", func(b *testing.B) {
		apply(b, compile(b, &transform.Spec{From: transform.Side{Format: transform.JSON}, To: transform.Side{Format: transform.JSON}}), src)
	})
	b.Run("jq", func(b *testing.B) {
		apply(b, compile(b, &transform.Spec{
			From: transform.Side{Format: transform.JSON}, To: transform.Side{Format: transform.JSON},
			JQ: `{id: .orderId, created_at: .createdAt, currency, customer: {id: (.customer.id | tonumber), first_name: .customer.firstName, last_name: .customer.lastName, email: .customer.email},
				shipping: .customer.address, lines: (.items | map({sku, title, quantity: (.qty | tonumber), unit_price: .price})), payment: {last4: .payment.last4, authorised: (.payment.authorised == "true")},
				payment_method: .payment.method, notes, tags, channel: (.channel // "web"), version: 2}`,
		}), src)
	})
	b.Run("from xml", func(b *testing.B) {
		out, err := orderProgram(b, `{"format":"xml","xml":{"root":"order"}}`).Apply(b.Context(), nil, src, "")
		if err != nil {
			b.Fatal(err)
		}
		apply(b, compile(b, &transform.Spec{From: transform.Side{Format: transform.XML}, To: transform.Side{Format: transform.JSON}}), out)
	})
}

func apply(b *testing.B, p *transform.Program, src []byte) {
	b.Helper()
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		var err error
		if dst, err = p.Apply(b.Context(), dst[:0], src, "application/json"); err != nil {
			b.Fatal(err)
		}
	}
}
