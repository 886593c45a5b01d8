package faulttest

import (
	"encoding/binary"
	"errors"
	"io"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/x/bsonx/bsoncore"
)

const (
	opMsg        = 2013
	headerLength = 16
	longest      = 48 << 20

	flagChecksum = 1 << 0
)

var errWire = errors.New("not a message of the MongoDB protocol")

// message is one message of the protocol. An OP_MSG is parsed. Any other message, such as the
// first greeting, stays as it is.
type message struct {
	request, response int32 // its own number, and that of the request that it answers
	raw               []byte

	isMsg     bool
	flags     uint32
	body      bson.Raw
	sequences []sequence
}

// sequence is a list of documents outside the body, such as the "updates" of an update.
type sequence struct {
	name      string
	documents []bson.Raw
}

// command returns the name of the command of a request.
func (m *message) command() string {
	if !m.isMsg {
		return ""
	}
	first, err := m.body.IndexErr(0)
	if err != nil {
		return ""
	}
	return first.Key()
}

// collection returns the collection that the command works on.
func (m *message) collection() string {
	if m.command() == "" {
		return ""
	}
	name, _ := m.body.Index(0).Value().StringValueOK()
	return name
}

func readMessage(from io.Reader) (*message, error) {
	var header [headerLength]byte
	if _, err := io.ReadFull(from, header[:]); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(header[:])
	if length < headerLength || length > longest {
		return nil, errWire
	}
	m := &message{
		raw:      make([]byte, length),
		request:  int32(binary.LittleEndian.Uint32(header[4:])),
		response: int32(binary.LittleEndian.Uint32(header[8:])),
	}
	copy(m.raw, header[:])
	if _, err := io.ReadFull(from, m.raw[headerLength:]); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(header[12:]) != opMsg {
		return m, nil
	}
	return m, m.parse(m.raw[headerLength:])
}

func (m *message) parse(rest []byte) error {
	if len(rest) < 4 {
		return errWire
	}
	m.isMsg, m.flags = true, binary.LittleEndian.Uint32(rest)
	rest = rest[4:]
	if m.flags&flagChecksum != 0 && len(rest) >= 4 {
		rest = rest[:len(rest)-4]
		m.flags &^= flagChecksum
	}
	for len(rest) > 0 {
		kind := rest[0]
		rest = rest[1:]
		if kind == 0 {
			document, after, ok := bsoncore.ReadDocument(rest)
			if !ok {
				return errWire
			}
			m.body, rest = bson.Raw(document), after
			continue
		}
		length, _, ok := bsoncore.ReadLength(rest)
		if !ok || int(length) > len(rest) {
			return errWire
		}
		documents := rest[4:length]
		rest = rest[length:]
		var next sequence
		if next.name, documents, ok = bsoncore.ReadKey(documents); !ok {
			return errWire
		}
		for len(documents) > 0 {
			document, after, ok := bsoncore.ReadDocument(documents)
			if !ok {
				return errWire
			}
			next.documents, documents = append(next.documents, bson.Raw(document)), after
		}
		m.sequences = append(m.sequences, next)
	}
	return nil
}

// bytes encodes the message again.
func (m *message) bytes() []byte {
	if !m.isMsg {
		return m.raw
	}
	out := append([]byte{}, m.raw[:headerLength]...)
	out = binary.LittleEndian.AppendUint32(out, m.flags)
	out = append(out, 0)
	out = append(out, m.body...)
	for _, one := range m.sequences {
		out = append(out, 1)
		start := len(out)
		out = append(out, 0, 0, 0, 0)
		out = append(append(out, one.name...), 0)
		for _, document := range one.documents {
			out = append(out, document...)
		}
		binary.LittleEndian.PutUint32(out[start:], uint32(len(out)-start))
	}
	binary.LittleEndian.PutUint32(out, uint32(len(out)))
	return out
}
