"""A client as people generate it with grpcio-tools: runs the cases of run.ts against the broker at argv[1].

Prints one line of JSON for each case, in order, and stops at the first that fails: the later ones build on it.
"""

import json
import queue
import sys
import time
import traceback

import grpc
from ratatoskr import legacy_pb2 as legacy
from ratatoskr import legacy_pb2_grpc as legacy_grpc
from ratatoskr.v1 import broker_service_pb2 as brokers
from ratatoskr.v1 import broker_service_pb2_grpc as brokers_grpc
from ratatoskr.v1 import group_service_pb2 as groups
from ratatoskr.v1 import group_service_pb2_grpc as groups_grpc
from ratatoskr.v1 import message_service_pb2 as messages
from ratatoskr.v1 import message_service_pb2_grpc as messages_grpc
from ratatoskr.v1 import topic_service_pb2 as topics
from ratatoskr.v1 import topic_service_pb2_grpc as topics_grpc
from ratatoskr.v1 import types_pb2 as types

TOPIC = "foreign-python"
GROUP = "readers"
TIMEOUT_S = 15
PAYLOADS = [b"one", b"\x00\xff\x80", "\u00fcber".encode(), b"", b"five"]


def expect(what, actual, wanted):
    if actual != wanted:
        raise AssertionError(f"{what}: expected {wanted!r}, got {actual!r}")


class Requests:
    """The requests of a stream, given one by one."""

    def __init__(self):
        self._queue = queue.Queue()

    def send(self, **request):
        self._queue.put(messages.ConsumeRequest(**request))

    def end(self):
        self._queue.put(None)

    def __iter__(self):
        return iter(self._queue.get, None)


class Client:
    def __init__(self, target):
        channel = grpc.insecure_channel(target)
        self.topics = topics_grpc.TopicServiceStub(channel)
        self.messages = messages_grpc.MessageServiceStub(channel)
        self.groups = groups_grpc.GroupServiceStub(channel)
        self.brokers = brokers_grpc.BrokerServiceStub(channel)
        self.legacy = legacy_grpc.MessageBrokerStub(channel)

    def create_topic(self):
        request = topics.CreateTopicRequest(topic=TOPIC, config=types.TopicConfig(partitions=1))
        response = self.topics.CreateTopic(request, timeout=TIMEOUT_S)
        expect("created", response.created, True)
        expect("partitions", response.topic.config.partitions, 1)
        again = self.topics.CreateTopic(request, timeout=TIMEOUT_S)
        expect("created again", again.created, False)

    def publish_one(self):
        header = types.Header(name="h", value=b"\x01\xfe")
        message = types.OutgoingMessage(payload=PAYLOADS[0], key=b"k", headers=[header])
        request = messages.PublishRequest(topic=TOPIC, message=message)
        receipt = self.messages.Publish(request, timeout=TIMEOUT_S).receipt
        expect("offset", receipt.offset, 0)
        expect("durability", receipt.durability, types.DURABILITY_MEMORY)
        self.first_id = receipt.id

    def publish_batch(self):
        batch = [types.OutgoingMessage(payload=payload) for payload in PAYLOADS[1:]]
        batch.append(types.OutgoingMessage(payload=b"nowhere", partition=9))
        request = messages.PublishBatchRequest(topic=TOPIC, messages=batch)
        *stored, failed = self.messages.PublishBatch(request, timeout=TIMEOUT_S).results
        expect("offsets", [result.receipt.offset for result in stored], [1, 2, 3, 4])
        expect("error", failed.error.code, "RTK_PARTITION_NOT_FOUND")

    def stream_consume(self):
        requests = Requests()
        stream = self.messages.Consume(iter(requests), timeout=TIMEOUT_S)
        requests.send(
            open=messages.OpenSubscription(
                topic=TOPIC,
                group=GROUP,
                member="python",
                credit=messages.Credit(messages=2),
                format=types.DELIVERY_FORMAT_MESSAGES,
            )
        )
        expect("opened", next(stream).opened.group, GROUP)
        expect("assigned", [p.partition for p in next(stream).assigned.partitions], [0])
        received = []

        def take(count):
            while len(received) < count:
                received.extend(next(stream).messages.messages)
            expect("messages", len(received), count)

        take(2)
        # Were more under way than the credit allows, they would come before this answer.
        self._commit(requests, stream, received[-1].offset + 1)
        requests.send(credit=messages.Credit(messages=1000))
        take(len(PAYLOADS))
        expect("payloads", [message.payload for message in received], PAYLOADS)
        expect("offsets", [message.offset for message in received], [0, 1, 2, 3, 4])
        first, second = received[:2]
        expect("id", first.id, self.first_id)
        expect("key", first.key, b"k")
        expect("headers", [(h.name, h.value) for h in first.headers], [("h", b"\x01\xfe")])
        expect("has a key", second.HasField("key"), False)
        self.requests, self.stream = requests, stream

    def _commit(self, requests, stream, offset):
        offsets = [types.CommittedOffset(partition=0, offset=offset, metadata="from python")]
        requests.send(commit=messages.CommitOffsets(correlation_id=offset, offsets=offsets))
        answer = next(stream)
        expect("answer", answer.WhichOneof("response"), "committed")
        expect("correlation id", answer.committed.correlation_id, offset)
        expect("commit failed", answer.committed.HasField("error"), False)

    def commit(self):
        self._commit(self.requests, self.stream, len(PAYLOADS))
        self.requests.end()
        expect("rest of the stream", list(self.stream), [])
        expect("status", self.stream.code(), grpc.StatusCode.OK)
        group = self.groups.GetGroup(groups.GetGroupRequest(topic=TOPIC, group=GROUP), timeout=TIMEOUT_S)
        expect("committed", group.partitions[0].committed_offset, len(PAYLOADS))
        expect("metadata", group.partitions[0].metadata, "from python")
        expect("lag", group.lag, 0)

    def fetch(self):
        fetched = self.messages.Fetch(
            messages.FetchRequest(topic=TOPIC, partition=0, offset=2, format=types.DELIVERY_FORMAT_MESSAGES),
            timeout=TIMEOUT_S,
        ).batches
        expect("payloads", [message.payload for message in fetched.messages][0], PAYLOADS[2])
        expect("next offset", fetched.next_offset, fetched.messages[-1].offset + 1)
        expect("batches", fetched.batches, b"")

    def stats(self):
        topic = self.topics.GetTopicStats(topics.GetTopicStatsRequest(topic=TOPIC), timeout=TIMEOUT_S)
        expect("messages", topic.message_count, len(PAYLOADS))
        expect("end offset", topic.partitions[0].end_offset, len(PAYLOADS))
        broker = self.brokers.GetBrokerStats(brokers.GetBrokerStatsRequest(), timeout=TIMEOUT_S)
        expect("published", broker.messages_published >= len(PAYLOADS), True)

    def error(self):
        try:
            self.topics.GetTopic(topics.GetTopicRequest(topic="nowhere"), timeout=TIMEOUT_S)
        except grpc.RpcError as failed:
            trailers = dict(failed.trailing_metadata())
            expect("status", failed.code(), grpc.StatusCode.NOT_FOUND)
            expect("code", trailers["ratatoskr-code"], "RTK_TOPIC_NOT_FOUND")
            error = types.Error.FromString(trailers["ratatoskr-error-bin"])
            expect("error", (error.code, error.retryable), ("RTK_TOPIC_NOT_FOUND", False))
        else:
            raise AssertionError("a topic that is not there was found")

    def legacy_service(self):
        name = "legacy-python"
        expect("created", self.legacy.CreateTopic(legacy.CreateTopicRequest(name=name)).created, True)
        request = legacy.SubscribeRequest(topic=name, subscriber_id="python")
        stream = self.legacy.Subscribe(request, timeout=TIMEOUT_S)
        deadline = time.monotonic() + TIMEOUT_S
        while self.legacy.GetStats(legacy.GetStatsRequest(topic=name)).subscriber_count == 0:
            if time.monotonic() > deadline:
                raise AssertionError("the subscription was not counted in time")
            time.sleep(0.01)
        sent = legacy.PublishRequest(topic=name, payload=b"\xff old", metadata={"a": "b"})
        answer = self.legacy.Publish(sent, timeout=TIMEOUT_S)
        expect("success", answer.success, True)
        got = next(stream)
        expect("message", (got.id, got.topic, got.payload), (answer.message_id, name, sent.payload))
        expect("metadata", dict(got.metadata), {"a": "b"})
        stream.cancel()


CASES = [
    Client.create_topic,
    Client.publish_one,
    Client.publish_batch,
    Client.stream_consume,
    Client.commit,
    Client.fetch,
    Client.stats,
    Client.error,
    Client.legacy_service,
]


def main():
    client = Client(sys.argv[1])
    for case in CASES:
        failure = None
        try:
            case(client)
        except Exception as thrown:  # whatever went wrong is the result of the case
            traceback.print_exc()
            failure = f"{type(thrown).__name__}: {thrown}"
        print(json.dumps({"failure": failure}), flush=True)
        if failure is not None:
            sys.exit(1)


main()
