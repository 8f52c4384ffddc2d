"""Every limit of the wire, in one place, with its reason."""

PROTOCOL_VERSION = 1
SUBPROTOCOL = "landline.v1"

# The usual ceiling for a WebSocket message (OWASP WebSocket cheat sheet). It counts the sum of
# all fragments.
FRAME_BYTES = 64 * 1024

# UTF-8 bytes. A text in which every byte is escaped as \u00XX may exceed FRAME_BYTES; the frame
# limit refuses it.
CONTENT_BYTES = 16 * 1024

NAME_BYTES = 64
REF_BYTES = 64

# One ack frame can settle a whole window.
ACK_IDS = 256
WINDOW = 256

# What a frame may hold beside the fields of the protocol, as JSON without blanks. A client of a
# later version has a field or two that we do not know; a frame full of them is work for nothing.
UNKNOWN_BYTES = 4 * 1024

# Nesting that no frame of ours needs; deeper JSON is somebody probing the parser.
JSON_DEPTH = 16

# A client that is this often wrong in a row does not speak our protocol.
BAD_FRAMES_IN_A_ROW = 20

# What a conversation may have beside its messages.
DATA_BYTES = 4 * 1024
TITLE_BYTES = 256
DEVICE_BYTES = 64
ROOM_MEMBERS = 256

# The one unseen longest ends when there would be more.
USER_DEVICES = 16

# A page of conversations or of history, and what one question about deliveries may ask for.
PAGE_ITEMS = 100
DELIVERY_IDS = 50
REQUEST_BYTES = 64
