"""Models and weights of others, brought by the user, as SegDL models.

- ``states``: tensors from files, without ever executing a pickle;
- ``fitting``: their names and shapes against a network;
- ``plain``: weights of the public originals of shipped cards;
- ``monai_bundle``, ``nnunet``: whole models with their own description;
- ``initial``: weights to start a training from;
- ``importing``: recognise what is given, and install it as a whole or not at all.
"""
