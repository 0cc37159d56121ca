# The hooks that schemathesis runs before each request.

import re
import uuid

import schemathesis

KEY = re.compile(r'([!#-~]{1,128}|"[!#-~]{1,128}")')


@schemathesis.hook
def before_call(context, case, kwargs):
    """Replace the idempotency key by a unique one.

    The server answers a reused key with the cached response of the earlier request.
    """
    # Negative cases test invalid keys, which must stay invalid.
    if case.meta is not None and case.meta.generation.mode.is_negative:
        return
    headers = case.headers or {}
    key = headers.get("Idempotency-Key")
    if isinstance(key, str) and KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
