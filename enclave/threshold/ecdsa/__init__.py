"""How do 2t + 1 nodes make one ECDSA signature without any of them having the key?

Honest-majority signing after Damgard, Jakobsen, Nielsen, Pagter and Ostergaard (SCN 2020), bound to one message
from the first round on.  `session` says what is signed and by whom, `signer` runs a node's four rounds, `finish`
is the gateway's step (specs/threshold-ecdsa.md).
"""
