"""What a model is worth on labelled pictures: data sets -> records -> figures -> a report.

sets        labelled pictures where people keep them, see `annotations`
finding     pictures -> records of what a model finds in them, as `results.labelling` wants it
metrics     pycocotools' figures, and LVIS' federated ones by the same code
comparison  what is shown at a threshold: found, missed, false; the worst pictures
figures     set and records -> figures
report      figures -> text, JSON, a page
"""
