// Command client: franz-go produces what standard input says, or consumes with a group. See ../README.md.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// record is one JSON line; []byte is base64 and nil is null in encoding/json.
type record struct {
	Offset    int64   `json:"offset"`
	Partition int32   `json:"partition"`
	Key       []byte  `json:"key"`
	Value     []byte  `json:"value"`
	Headers   [][]any `json:"headers"`
	Timestamp int64   `json:"timestamp"`
}

func main() {
	log.SetFlags(0)
	switch os.Args[1] {
	case "produce":
		produce()
	case "consume":
		consume()
	default:
		log.Fatalf("unknown command %q", os.Args[1])
	}
}

func produce() {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	client := connect(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[env("CODEC")]))
	defer client.Close()
	var records []*kgo.Record
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var said record
		check(json.Unmarshal(lines.Bytes(), &said))
		next := &kgo.Record{
			Topic: env("TOPIC"), Partition: said.Partition, Key: said.Key, Value: said.Value,
			Timestamp: time.UnixMilli(said.Timestamp),
		}
		for _, header := range said.Headers {
			next.Headers = append(next.Headers, kgo.RecordHeader{Key: header[0].(string), Value: decode(header[1])})
		}
		records = append(records, next)
	}
	for _, result := range client.ProduceSync(context.Background(), records...) {
		check(result.Err)
	}
	for _, placed := range records {
		fmt.Printf("{\"partition\":%d,\"offset\":%d}\n", placed.Partition, placed.Offset)
	}
}

func consume() {
	client := connect(kgo.ConsumerGroup(env("GROUP")), kgo.ConsumeTopics(env("TOPIC")), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	left, err := strconv.Atoi(env("COUNT"))
	check(err)
	out := json.NewEncoder(os.Stdout)
	for left > 0 {
		fetches := client.PollFetches(context.Background())
		for _, failed := range fetches.Errors() {
			log.Fatalf("an error instead of a record: %v", failed.Err)
		}
		fetches.EachRecord(func(got *kgo.Record) {
			said := record{
				Offset: got.Offset, Partition: got.Partition, Key: got.Key, Value: got.Value,
				Headers: [][]any{}, Timestamp: got.Timestamp.UnixMilli(),
			}
			for _, header := range got.Headers {
				said.Headers = append(said.Headers, []any{header.Key, header.Value})
			}
			check(out.Encode(said))
			left--
		})
	}
	check(client.CommitUncommittedOffsets(context.Background()))
}

func connect(options ...kgo.Opt) *kgo.Client {
	options = append(options, kgo.SeedBrokers(strings.Split(env("BOOTSTRAP"), ",")...))
	if env("CA") != "" {
		pem, err := os.ReadFile(env("CA"))
		check(err)
		config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		config.RootCAs.AppendCertsFromPEM(pem)
		if env("CERTIFICATE") != "" {
			pair, err := tls.LoadX509KeyPair(env("CERTIFICATE"), env("KEY"))
			check(err)
			config.Certificates = []tls.Certificate{pair}
		}
		options = append(options, kgo.DialTLSConfig(config))
	}
	client, err := kgo.NewClient(options...)
	check(err)
	return client
}

// decode gives the bytes of a header's value: JSON made it a string in base64, or nil.
func decode(value any) []byte {
	if value == nil {
		return nil
	}
	var bytes []byte
	check(json.Unmarshal([]byte(strconv.Quote(value.(string))), &bytes))
	return bytes
}

func env(name string) string { return os.Getenv("KAFKA_" + name) }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
