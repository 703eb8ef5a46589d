"""Training of the networks in a model pack: from arrays of grey levels to ONNX files and a model card.

The package knows neither DICOM nor picture files nor the appliance. `provisioning.training` prepares the arrays with
the appliance's own preprocessing, so that a network is trained on the same images that it will read.
"""
