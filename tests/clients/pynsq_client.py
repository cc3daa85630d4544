"""A producer and a consumer on pynsq, the NSQ project's own Python client."""

import asyncio
import json
import time

import nsq
import tornado.ioloop

from driver import Plan, bodies, fail, nsq_arguments, report, succeed


async def send(writer, arguments, batch):
    """Publishes a batch and gives the server's answer, or the error."""
    done = asyncio.get_running_loop().create_future()

    def finish(_conn, data):
        if not done.done():
            done.set_result(data)

    if arguments.defer:
        writer.dpub(arguments.topic, arguments.defer, batch[0], finish)
    elif arguments.batch > 1:
        writer.mpub(arguments.topic, batch, finish)
    else:
        writer.pub(arguments.topic, batch[0], finish)
    return await asyncio.wait_for(done, 60)


async def publish(arguments):
    writer = nsq.Writer([arguments.tcp], reconnect_interval=0.2, **arguments.options)
    while not any(conn.connected() for conn in writer.conns.values()):
        await asyncio.sleep(0.01)
    count = 0
    for batch in bodies(arguments):
        give_up = time.monotonic() + arguments.patience
        answer = await send(writer, arguments, batch)
        while isinstance(answer, Exception):
            report("refused", text=str(answer))
            if time.monotonic() > give_up:
                fail(answer)
            await asyncio.sleep(0.1)
            answer = await send(writer, arguments, batch)
        count += len(batch)
        await asyncio.sleep(arguments.pace)
    succeed(count)


async def consume(arguments):
    plan = Plan(arguments)
    end = asyncio.Event()

    def handle(message):
        message.enable_async()
        answer, touch = plan.answer(message.id, message.body, message.attempts)
        if touch:
            message.touch()
        if answer == "fin":
            message.finish()
        elif answer == "req":
            message.requeue(backoff=False, time_ms=arguments.requeue_delay)
        if plan.is_done():
            end.set()

    options = {"msg_timeout": arguments.msg_timeout / 1000} if arguments.msg_timeout else {}
    reader = nsq.Reader(
        topic=arguments.topic,
        channel=arguments.channel,
        message_handler=handle,
        nsqd_tcp_addresses=[arguments.tcp] if arguments.tcp else [],
        lookupd_http_addresses=[f"http://{arguments.lookupd}"] if arguments.lookupd else [],
        max_in_flight=arguments.max_in_flight,
        max_tries=0,
        **options,
        **arguments.options,
    )
    identified = reader._on_connection_identify_response
    reader._on_connection_identify_response = lambda conn, data, **rest: (
        report("identified", server=data if isinstance(data, dict) else json.loads(data)),
        identified(conn, data, **rest),
    )
    try:
        await asyncio.wait_for(end.wait(), arguments.seconds)
    except asyncio.TimeoutError:
        fail(f"only {plan.finished} of {arguments.count} messages after {arguments.seconds} s")
    # The last FIN is still in the client's buffer; closing flushes it.
    reader.close()
    await asyncio.sleep(0.2)
    succeed(plan.finished)


def main():
    arguments = nsq_arguments()
    work = publish if arguments.verb == "publish" else consume
    tornado.ioloop.IOLoop.current().run_sync(lambda: work(arguments))


main()
