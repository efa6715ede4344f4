"""The graphs of apps: what the SDK does between its five graphs in Python, as graphs of their own.

`letterbox@S` brings a picture to the model's input; `text_to_mask@S` goes from what the backbone
gave to the masks of texts. With them an app in any language writes next to nothing. The SDK itself
runs neither, and nothing but these two lives here.
"""
