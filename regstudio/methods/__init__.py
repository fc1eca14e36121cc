"""Methods of registration, each one call: method(pair) -> Transform."""
