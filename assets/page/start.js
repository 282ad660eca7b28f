// Follows what the server says, once everything is defined.
new ResizeObserver(() => {
  drawPointing();
  drawBrush();
  drawHandles();
  drawFollowed();
}).observe(find(".canvas"));
// Until the server has answered, the old view is drawn as the new tab shows it.
new MutationObserver(() => {
  drawEdit();
  drawTrack();
  drawExamples();
  drawPointing();
  drawHandles();
  drawFollowed();
  drawStatus();
}).observe(element.closest("#answer"), { subtree: true, attributeFilter: ["aria-selected"] });

watch("view", drawView);
// The models that know such pictures as the new one are chosen once; who wants others chooses them after that.
watch("suited", () => {
  for (const kind of ["detector", "segmenter"]) {
    if (props.suited?.[kind]) trigger(`take_${kind}`, { model: props.suited[kind] });
  }
});
watch("view", settle);
watch("view", keepAtRest);
watch(["view", "status"], () => {
  newest = "status";
  noticeQuestion();
  drawStatus();
});
watch("edit", takeEdit);
watch("track", takeTrack);
watch("paused", drawFollowed);
watch("history", drawEdit);
nameExamples();
drawView();
drawStatus();
