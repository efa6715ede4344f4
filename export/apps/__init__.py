"""The graphs of apps: the SDK's Python steps between its five graphs, as graphs of their own.

`letterbox@S` converts an image to the model's input; `text_to_mask@S` goes from the backbone's
outputs to the masks of texts. With them an app in any language needs very little code. The SDK
itself runs neither. Only these two graphs are here.
"""
