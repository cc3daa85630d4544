"""A producer and a consumer on gnsq, an NSQ client on gevent."""

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402
import gevent.event  # noqa: E402
import gnsq  # noqa: E402

from driver import Plan, bodies, fail, nsq_arguments, succeed  # noqa: E402


def publish(arguments):
    producer = gnsq.Producer(arguments.tcp, **arguments.options)
    producer.start()
    count = 0
    for batch in bodies(arguments):
        if arguments.defer:
            producer.publish(arguments.topic, batch[0], defer=arguments.defer, timeout=30)
        elif arguments.batch > 1:
            producer.multipublish(arguments.topic, batch, timeout=30)
        else:
            producer.publish(arguments.topic, batch[0], timeout=30)
        count += len(batch)
    producer.close()
    succeed(count)


def consume(arguments):
    plan = Plan(arguments)
    end = gevent.event.Event()
    consumer = gnsq.Consumer(
        arguments.topic,
        arguments.channel,
        arguments.tcp,
        max_tries=0,
        max_in_flight=arguments.max_in_flight,
        max_backoff_duration=0,
        **arguments.options,
    )

    @consumer.on_message.connect
    def handle(_consumer, message):
        message.enable_async()
        answer, touch = plan.answer(message.id, message.body, message.attempts)
        if touch:
            message.touch()
        if answer == "fin":
            message.finish()
        elif answer == "req":
            message.requeue(time_ms=arguments.requeue_delay, backoff=False)
        if plan.is_done():
            end.set()

    consumer.start(block=False)
    if not end.wait(arguments.seconds):
        fail(f"only {plan.finished} of {arguments.count} messages after {arguments.seconds} s")
    consumer.close()
    consumer.join(timeout=1)
    succeed(plan.finished)


def main():
    arguments = nsq_arguments()
    if "auth_secret" in arguments.options:
        arguments.options["auth_secret"] = arguments.options["auth_secret"].encode()
    try:
        (publish if arguments.verb == "publish" else consume)(arguments)
    except gnsq.errors.NSQException as error:
        fail(repr(error))


main()
