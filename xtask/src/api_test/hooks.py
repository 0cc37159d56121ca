# What the API's test does to the requests that schemathesis makes.

import re
import uuid

import schemathesis

KEY = re.compile(r'([!#-~]{1,128}|"[!#-~]{1,128}")')


@schemathesis.hook
def before_call(context, case, kwargs):
    """Each request has a key of its own: a used one would be answered by an old answer."""
    # What was made wrong stays as it is.
    if case.meta is not None and case.meta.generation.mode.is_negative:
        return
    headers = case.headers or {}
    key = headers.get("Idempotency-Key")
    if isinstance(key, str) and KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
