"""The pure part: values and decisions about them, without Django, a clock or input and output."""
