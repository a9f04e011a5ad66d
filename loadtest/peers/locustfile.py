"""Locust's quickest user, for tools/bench: posts one body to one URL, as often as PACE says."""
import os

from locust import FastHttpUser, constant, constant_throughput, task

URL = os.environ["URL"]
BODY = os.environ["BODY"].encode()
HEADERS = {"Content-Type": "application/json"}
PACE = float(os.environ.get("PACE") or 0)  # requests per second of a user; 0: the next one at once


class User(FastHttpUser):
    host = URL
    wait_time = constant_throughput(PACE) if PACE else constant(0)

    @task
    def post(self):
        self.client.post(URL, data=BODY, headers=HEADERS)
