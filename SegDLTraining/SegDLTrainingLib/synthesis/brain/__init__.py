"""Generated brains: four-modality MRI phantoms, skull-stripped, with and without tumours."""
