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
// The model that knows such pictures as the new one is chosen once; who wants another chooses it after that.
watch("suited", () => props.suited && trigger("take_detector", { model: props.suited.model }));
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
