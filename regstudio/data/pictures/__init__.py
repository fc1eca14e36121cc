"""Files to pictures and back: the formats, their decoding in a process of its own, planes, colour."""
