"""The heart, sans-I/O: what is accepted, what is pushed to whom and when, what counts as delivered.

Theory of operation: see `landline.delivery.delivery` (the whole) and `landline.delivery.session`
(the cursor that makes a gap impossible).
"""

from landline.delivery.delivery import Delivery

__all__ = ["Delivery"]
