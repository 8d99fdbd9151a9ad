"""A work queue that loses nothing: a worker that dies leaves its item where others find it.

An item moves in one step from the queue to the worker's own list and leaves that list when the work
is done. What a dead worker leaves there is put back.

    python3 work_queue.py [STORE]        (default: local-kv)
"""

import sys

import headgate

QUEUE = b"example:jobs"


class Worker:
    def __init__(self, kv, name):
        self._kv, self._mine = kv, b"example:jobs:taken-by:" + name.encode()

    def take(self, wait_seconds=1.0):
        """The next job, or None when none came in time."""
        return self._kv.blmove(QUEUE, self._mine, wait_seconds, "left", "right")

    def done(self, job):
        self._kv.lrem(self._mine, 1, job)

    def put_back(self):
        """What this worker took and never finished goes to the front of the queue again."""
        count = 0
        while self._kv.lmove(self._mine, QUEUE, "right", "left") is not None:
            count += 1
        return count


def main(store="local-kv"):
    with headgate.connect() as client:
        kv = client.key_value(store)
        kv.delete_prefix(QUEUE)
        kv.rpush(QUEUE, *(f"job-{i}" for i in range(10)))

        careless = Worker(kv, "careless")
        for _ in range(3):
            careless.take()  # and then it is killed, without a word
        print("left in the queue:", kv.llen(QUEUE))
        print("put back:", Worker(kv, "careless").put_back())

        finished = []
        worker = Worker(kv, "diligent")
        while (job := worker.take(wait_seconds=0.2)) is not None:
            finished.append(job.decode())
            worker.done(job)
        print("finished:", ", ".join(finished))
        assert finished == [f"job-{i}" for i in range(10)], finished


if __name__ == "__main__":
    main(*sys.argv[1:])
