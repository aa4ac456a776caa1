"""What exactly would be signed?  Payloads parsed from the request's own bytes, with the facts a policy decides on."""
