"""A daemon without a connection: answers what a test gives it, and writes down what it is asked."""

from vmcontroller.client.work import Work


class AnsweringCalls(Work):
    """Every method over a table of answers."""

    url = "memory:"

    def __init__(self, answers=None):
        self.answers = dict(answers or {})
        """By wire name: a value, an exception to raise, or what is called with the parameters."""
        self.calls = []
        self.hung_up = 0

    def call(self, method, *params, wait_s=0):
        self.calls.append((method, *params))
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer(*params) if callable(answer) else answer

    def clone(self):
        return self

    def abort(self):
        pass

    def close(self):
        self.hung_up += 1
