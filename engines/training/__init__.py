"""Training of the networks that a model pack holds: from arrays of grey levels to ONNX files and a model card.

Nothing here knows DICOM, files of pictures or the appliance: `provisioning.training` prepares the arrays with the
appliance's own preprocessing, so that a network is trained on what it will be shown.
"""
