// A client as people generate it with protoc-gen-go and protoc-gen-go-grpc: runs the cases of run.ts against the broker
// at the address in the first argument. Prints one line of JSON for each case, in order, and stops at the first that
// fails: the later ones build on it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"

	legacy "foreign/gen/ratatoskr"
	v1 "foreign/gen/ratatoskr/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	topic   = "foreign-go"
	group   = "readers"
	timeout = 15 * time.Second
)

var payloads = [][]byte{[]byte("one"), {0x00, 0xff, 0x80}, []byte("über"), {}, []byte("five")}

type client struct {
	topics   v1.TopicServiceClient
	messages v1.MessageServiceClient
	groups   v1.GroupServiceClient
	brokers  v1.BrokerServiceClient
	legacy   legacy.MessageBrokerClient
	firstID  string
	stream   grpc.BidiStreamingClient[v1.ConsumeRequest, v1.ConsumeResponse]
}

type result struct {
	Failure *string `json:"failure"`
}

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	c := &client{
		topics:   v1.NewTopicServiceClient(connection),
		messages: v1.NewMessageServiceClient(connection),
		groups:   v1.NewGroupServiceClient(connection),
		brokers:  v1.NewBrokerServiceClient(connection),
		legacy:   legacy.NewMessageBrokerClient(connection),
	}
	// Over all cases: the stream of one is used by the next.
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	defer cancel()
	cases := []func(context.Context) error{
		c.createTopic, c.publishOne, c.publishBatch, c.streamConsume, c.commit, c.fetch, c.stats, c.failure, c.legacyService,
	}
	for _, run := range cases {
		var line result
		if err := run(ctx); err != nil {
			text := err.Error()
			line.Failure = &text
		}
		_ = json.NewEncoder(os.Stdout).Encode(line)
		if line.Failure != nil {
			os.Exit(1)
		}
	}
}

func expect(what string, actual, wanted any) error {
	if reflect.DeepEqual(actual, wanted) {
		return nil
	}
	return fmt.Errorf("%s: expected %v, got %v", what, wanted, actual)
}

func (c *client) createTopic(ctx context.Context) error {
	config := &v1.TopicConfig{Partitions: proto.Uint32(1)}
	request := &v1.CreateTopicRequest{Topic: topic, Config: config}
	response, err := c.topics.CreateTopic(ctx, request)
	if err != nil {
		return err
	}
	again, err := c.topics.CreateTopic(ctx, request)
	if err != nil {
		return err
	}
	return errors.Join(
		expect("created", response.Created, true),
		expect("partitions", response.Topic.Config.GetPartitions(), uint32(1)),
		expect("created again", again.Created, false),
	)
}

func (c *client) publishOne(ctx context.Context) error {
	message := &v1.OutgoingMessage{
		Payload: payloads[0],
		Key:     []byte("k"),
		Headers: []*v1.Header{{Name: "h", Value: []byte{0x01, 0xfe}}},
	}
	response, err := c.messages.Publish(ctx, &v1.PublishRequest{Topic: topic, Message: message})
	if err != nil {
		return err
	}
	c.firstID = response.Receipt.Id
	return errors.Join(
		expect("offset", response.Receipt.Offset, int64(0)),
		expect("durability", response.Receipt.Durability, v1.Durability_DURABILITY_MEMORY),
	)
}

func (c *client) publishBatch(ctx context.Context) error {
	request := &v1.PublishBatchRequest{Topic: topic}
	for _, payload := range payloads[1:] {
		request.Messages = append(request.Messages, &v1.OutgoingMessage{Payload: payload})
	}
	nowhere := &v1.OutgoingMessage{Payload: []byte("nowhere"), Partition: proto.Uint32(9)}
	request.Messages = append(request.Messages, nowhere)
	response, err := c.messages.PublishBatch(ctx, request)
	if err != nil {
		return err
	}
	var offsets []int64
	for _, each := range response.Results[:4] {
		offsets = append(offsets, each.GetReceipt().GetOffset())
	}
	return errors.Join(
		expect("offsets", offsets, []int64{1, 2, 3, 4}),
		expect("error", response.Results[4].GetError().GetCode(), "RTK_PARTITION_NOT_FOUND"),
	)
}

func (c *client) streamConsume(ctx context.Context) error {
	stream, err := c.messages.Consume(ctx)
	if err != nil {
		return err
	}
	c.stream = stream
	open := &v1.OpenSubscription{
		Topic:  topic,
		Group:  group,
		Member: "go",
		Credit: &v1.Credit{Messages: 2},
		Format: v1.DeliveryFormat_DELIVERY_FORMAT_MESSAGES,
	}
	if err := stream.Send(&v1.ConsumeRequest{Request: &v1.ConsumeRequest_Open{Open: open}}); err != nil {
		return err
	}
	opened, err := stream.Recv()
	if err != nil {
		return err
	}
	assigned, err := stream.Recv()
	if err != nil {
		return err
	}
	received, err := c.take(nil, 2)
	if err != nil {
		return err
	}
	// Were more under way than the credit allows, they would come before this answer.
	if err := c.commitOffset(received[1].Offset + 1); err != nil {
		return err
	}
	credit := &v1.Credit{Messages: 1000}
	if err := stream.Send(&v1.ConsumeRequest{Request: &v1.ConsumeRequest_Credit{Credit: credit}}); err != nil {
		return err
	}
	if received, err = c.take(received, len(payloads)); err != nil {
		return err
	}
	for i, message := range received {
		err = errors.Join(err,
			expect("payload", string(message.Payload), string(payloads[i])),
			expect("offset", message.Offset, int64(i)),
		)
	}
	first := received[0]
	return errors.Join(err,
		expect("opened", opened.GetOpened().GetGroup(), group),
		expect("assigned", len(assigned.GetAssigned().GetPartitions()), 1),
		expect("id", first.Id, c.firstID),
		expect("key", string(first.Key), "k"),
		expect("header", string(first.Headers[0].Value), "\x01\xfe"),
		expect("no key", received[1].Key == nil, true),
	)
}

// take reads the stream until there are count messages, and fails when there are more.
func (c *client) take(received []*v1.Message, count int) ([]*v1.Message, error) {
	for len(received) < count {
		response, err := c.stream.Recv()
		if err != nil {
			return nil, err
		}
		received = append(received, response.GetMessages().GetMessages()...)
	}
	return received, expect("messages", len(received), count)
}

func (c *client) commitOffset(offset int64) error {
	commit := &v1.CommitOffsets{
		CorrelationId: uint64(offset),
		Offsets:       []*v1.CommittedOffset{{Partition: 0, Offset: offset, Metadata: "from go"}},
	}
	if err := c.stream.Send(&v1.ConsumeRequest{Request: &v1.ConsumeRequest_Commit{Commit: commit}}); err != nil {
		return err
	}
	answer, err := c.stream.Recv()
	if err != nil {
		return err
	}
	committed := answer.GetCommitted()
	if committed == nil {
		return fmt.Errorf("answer: expected a commit result, got %v", answer)
	}
	return errors.Join(
		expect("correlation id", committed.CorrelationId, uint64(offset)),
		expect("commit failed", committed.Error != nil, false),
	)
}

func (c *client) commit(ctx context.Context) error {
	if err := c.commitOffset(int64(len(payloads))); err != nil {
		return err
	}
	if err := c.stream.CloseSend(); err != nil {
		return err
	}
	if rest, err := c.stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("end of the stream: expected EOF, got %v, %v", rest, err)
	}
	described, err := c.groups.GetGroup(ctx, &v1.GetGroupRequest{Topic: topic, Group: group})
	if err != nil {
		return err
	}
	partition := described.Partitions[0]
	return errors.Join(
		expect("committed", partition.GetCommittedOffset(), int64(len(payloads))),
		expect("metadata", partition.Metadata, "from go"),
		expect("lag", described.Lag, int64(0)),
	)
}

func (c *client) fetch(ctx context.Context) error {
	response, err := c.messages.Fetch(ctx, &v1.FetchRequest{
		Topic:    topic,
		Position: &v1.FetchRequest_Offset{Offset: 2},
		Format:   v1.DeliveryFormat_DELIVERY_FORMAT_MESSAGES,
	})
	if err != nil {
		return err
	}
	fetched := response.Batches
	if len(fetched.Messages) == 0 {
		return errors.New("messages: expected some, got none")
	}
	last := fetched.Messages[len(fetched.Messages)-1]
	return errors.Join(
		expect("payload", string(fetched.Messages[0].Payload), string(payloads[2])),
		expect("next offset", fetched.NextOffset, last.Offset+1),
		expect("batches", len(fetched.Batches), 0),
	)
}

func (c *client) stats(ctx context.Context) error {
	stats, err := c.topics.GetTopicStats(ctx, &v1.GetTopicStatsRequest{Topic: topic})
	if err != nil {
		return err
	}
	broker, err := c.brokers.GetBrokerStats(ctx, &v1.GetBrokerStatsRequest{})
	if err != nil {
		return err
	}
	return errors.Join(
		expect("messages", stats.MessageCount, int64(len(payloads))),
		expect("end offset", stats.Partitions[0].EndOffset, int64(len(payloads))),
		expect("published", broker.MessagesPublished >= int64(len(payloads)), true),
	)
}

func (c *client) failure(ctx context.Context) error {
	var trailers metadata.MD
	_, err := c.topics.GetTopic(ctx, &v1.GetTopicRequest{Topic: "nowhere"}, grpc.Trailer(&trailers))
	wire := trailers.Get("ratatoskr-error-bin")
	if len(wire) != 1 {
		return fmt.Errorf("trailers: expected ratatoskr-error-bin, got %v", trailers)
	}
	var decoded v1.Error
	return errors.Join(
		expect("status", status.Code(err), codes.NotFound),
		expect("code", trailers.Get("ratatoskr-code"), []string{"RTK_TOPIC_NOT_FOUND"}),
		proto.Unmarshal([]byte(wire[0]), &decoded),
		expect("error", decoded.Code, "RTK_TOPIC_NOT_FOUND"),
		expect("retryable", decoded.Retryable, false),
	)
}

func (c *client) legacyService(ctx context.Context) error {
	const name = "legacy-go"
	created, err := c.legacy.CreateTopic(ctx, &legacy.CreateTopicRequest{Name: name})
	if err != nil {
		return err
	}
	stream, err := c.legacy.Subscribe(ctx, &legacy.SubscribeRequest{Topic: name, SubscriberId: "go"})
	if err != nil {
		return err
	}
	for subscribers := int32(0); subscribers == 0; time.Sleep(10 * time.Millisecond) {
		stats, err := c.legacy.GetStats(ctx, &legacy.GetStatsRequest{Topic: name})
		if err != nil {
			return err
		}
		subscribers = stats.SubscriberCount
	}
	sent := &legacy.PublishRequest{Topic: name, Payload: []byte("\xff old"), Metadata: map[string]string{"a": "b"}}
	answer, err := c.legacy.Publish(ctx, sent)
	if err != nil {
		return err
	}
	got, err := stream.Recv()
	if err != nil {
		return err
	}
	return errors.Join(
		expect("created", created.Created, true),
		expect("success", answer.Success, true),
		expect("id", got.Id, answer.MessageId),
		expect("topic", got.Topic, name),
		expect("payload", got.Payload, sent.Payload),
		expect("metadata", got.Metadata, sent.Metadata),
	)
}
