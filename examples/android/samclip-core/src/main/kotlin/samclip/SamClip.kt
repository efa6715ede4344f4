package samclip

import java.io.File
import kotlin.math.exp

/**
 * A model: one pass of one image encoder, and masks of texts, points and boxes, and classes from it.
 *
 * Graphs are opened when they are first needed. Any number of threads may ask; one at a time computes.
 */
class SamClip private constructor(
    private val bundle: Bundle,
    private val backend: Backend,
    private val precision: String,
) : AutoCloseable {
    private val graphs = HashMap<String, Graph>()
    private val needsPadding = backend.runtime != "onnx" || !bundle.manifest.convolutional
    private val tokenizer by lazy { Tokenizer(bundle.read("tokenizer.json")) }
    private val labels = Labels(bundle, ::embedText)

    val manifest: Manifest get() = bundle.manifest

    /** Fits an image to the model and runs the image encoder, which every question about it needs once. */
    fun encode(rgbImage: RgbImage): EncodedImage = encode(rgbImage, manifest.segmentation)

    /** The nouns that images taught the model, in the order of the alphabet; none if its bundle does not tell. */
    val words: List<String>
        @Synchronized get() = labels.known?.words.orEmpty()

    /**
     * What the model takes labels for, in their order; none if the bundle does not tell, and no pack gave the label.
     *
     * A label is a taught word, or was given by a pack; the same as one in another word, number or spelling; read as
     * others: its kind, the kinds of a general word, or its head noun; or not known. Every answer has the last two in
     * `readAs`.
     */
    @Synchronized
    fun readLabels(labels: List<String>): Map<String, Reading> = this.labels.read(labels)

    /** The taught words nearest to a label's own embedding, the nearest first. */
    @Synchronized
    fun nearestWords(label: String, count: Int = 3): List<NearWord> {
        if (count < 1) throw PromptException("count is $count; it must be 1 or more")
        val name = Labels.checkLabels(listOf(label)).single()
        return labels.known?.nearest(labels.own(name), count).orEmpty()
    }

    /**
     * Finds labels in an image and draws their masks; the mask of a label that is not there is empty.
     *
     * With [exclusive], no pixel has two labels: the likelier one keeps it, and a label that loses its mask is not
     * there.
     *
     * @param threshold 0..1, the presence below which a label is not there; by default the label's own, or else the
     *     bundle's.
     * @param allowUnknown whether a label that the model does not know (see [readLabels]) may be there at the default
     *     threshold, by what the text encoder makes of it. Without it, or a [threshold], such a label is not there.
     */
    @Synchronized
    fun segmentText(
        image: EncodedImage,
        labels: List<String>,
        exclusive: Boolean = false,
        threshold: Float? = null,
        allowUnknown: Boolean = false,
    ): List<TextMask> {
        check(image)
        checkShare("threshold", threshold)
        val asked = this.labels.ask(labels, threshold, allowUnknown)
        val found = asked.zip(drawn(image, asked)) { label, drawn -> textMask(label, drawn, image.frame) }
        if (!exclusive) return found
        val present = found.filter { it.present }
        val left = present.zip(settled(present.map { it.mask }, present.map { it.presence })).toMap()
        return found.map {
            val mask = left[it] ?: Mask.empty(image.frame)
            TextMask(it.label, left[it] != null, it.presence, it.score, mask, it.readAs)
        }
    }

    /**
     * What is drawn for each label, by the graph that does it all if it is there.
     *
     * Of several words that answer for a label, the graph draws each, and the label is what all of those that are there
     * cover. Without the graph, the label's score map is the highest of theirs, as in Python, and is drawn once.
     */
    private fun drawn(image: EncodedImage, asked: List<AskedLabel>): List<DrawnText> {
        val name = "text_to_mask@${image.frame.resolution}"
        if (!bundle.hasGraph(name)) return asked.chunked(manifest.maxPrompts).flatMap { part ->
            val prompts = LabelPrompts(maps(image, part), manifest)
            DrawnText.all(prompts.drawn(decode(image, prompts.feed)), part)
        }
        val words = asked.flatMap { label -> label.texts.map { label to it } }
        val drawn = words.chunked(manifest.maxPrompts).flatMap { part ->
            val feed = mapOf(
                "image_tokens" to image.tokens,
                "image_embeddings" to image.embeddings,
                "extent" to image.frame.extent(),
                "text_embeddings" to rows(part.map { (_, text) -> text }),
            )
            DrawnText.all(run(name, feed, "mask_logits", "scores", "presence"), part.map { (label, _) -> label })
        }.iterator()
        return asked.map { label -> label.texts.map { drawn.next() }.reduce(DrawnText::or) }
    }

    /**
     * Segments what prompts point at.
     *
     * By default a single point, which may mean a thing or a part of it, gives three masks; several points, or points
     * and a box, give the best of three by their scores; any other prompt gives one. [multimask] asks for three masks
     * of each prompt, or for one.
     */
    @Synchronized
    fun segment(image: EncodedImage, prompts: List<Prompt>, multimask: Boolean? = null): List<PromptMask> {
        check(image)
        if (prompts.isEmpty()) throw PromptException("nothing to segment: give at least one prompt")
        return prompts.withIndex().chunked(manifest.maxPrompts).flatMap { part ->
            val found = DrawnMask.all(decode(image, part.map { it.value })).chunked(DrawnMask.EACH)
            part.zip(found).flatMap { (asked, drawn) ->
                val (place, prompt) = asked
                val three = drawn.drop(1)
                val chosen = when {
                    multimask ?: prompt.ambiguous -> three
                    multimask == null && prompt.combined -> listOf(three.maxBy { it.predictedIou })
                    else -> drawn.take(1)
                }
                chosen.map { promptMask(it, place, image.frame) }
            }
        }
    }

    /**
     * Finds the objects of labels in an image and draws the mask of each, the best first.
     *
     * Each part of a label's mask is an object: the mask decoder draws it once more, by the box around it. So objects
     * that touch may be one. With [exclusive], no pixel and no object has two labels: the likelier one keeps it.
     *
     * @param threshold 0..1, the presence below which a label has no objects; by default the label's own, or else the
     *     bundle's.
     * @param allowUnknown as in [segmentText].
     * @param maskThreshold the logit that a pixel must exceed; by default the bundle's.
     * @param minScore 0..1, the score below which an object is left out; by default the bundle's, or 0 if it does not
     *     calibrate objects.
     * @param maxInstances the most objects; the best ones stay.
     */
    @Synchronized
    fun segmentInstances(
        image: EncodedImage,
        labels: List<String>,
        threshold: Float? = null,
        maskThreshold: Float? = null,
        minScore: Float? = null,
        maxInstances: Int = 50,
        exclusive: Boolean = false,
        allowUnknown: Boolean = false,
    ): List<ObjectMask> {
        check(image)
        checkShare("threshold", threshold)
        checkShare("minScore", minScore)
        if (maskThreshold?.isFinite() == false) {
            throw PromptException("maskThreshold is $maskThreshold; it must be finite")
        }
        if (maxInstances < 1) throw PromptException("maxInstances is $maxInstances; it must be 1 or more")
        val asked = this.labels.ask(labels, threshold, allowUnknown)
        val patches = patches(image)
        val objects = Objects(image.frame, manifest.maskSide, maskThreshold ?: manifest.maskThreshold)
        var best = emptyList<ObjectMask>()
        for (label in asked) {
            val map = map(image, patches, label)
            if (map.presence < label.threshold) continue
            val seen = SeenLabel(label, patches, manifest.calibration)
            val found = objects.distinct(drawnObjects(image, map, objects), seen)
            best = (best + found).sortedByDescending { it.score }.take(maxInstances)
        }
        val sure = best.filter { it.score >= (minScore ?: manifest.calibration.objects?.minScore ?: 0f) }
        if (!exclusive) return sure
        val left = settled(sure.map { it.mask }, sure.map { it.score }, sure.map { it.label })
        return sure.zip(left).mapNotNull { (found, mask) -> mask?.let(found::with) }
    }

    /** The masks that may be a label's objects: one of each part of the label's mask, or that mask itself. */
    private fun drawnObjects(image: EncodedImage, map: ScoreMap, objects: Objects): List<DrawnMask> {
        val prompts = LabelPrompts(listOf(map), manifest)
        val whole = prompts.masks(decode(image, prompts.feed)).single()
        val clean = DrawnMask(objects.withoutSpecks(whole.logits), whole.predictedIou)
        val candidates = objects.candidates(clean.logits)
        if (candidates.size < 2) return listOf(clean)
        return candidates.chunked(manifest.maxPrompts).flatMap { part ->
            val feed = promptFeed(part.map { it.tokens }, part.map { it.map }, manifest.maskSide)
            val drawn = DrawnMask.all(decode(image, feed)).chunked(DrawnMask.EACH)
            part.zip(drawn) { candidate, masks -> objects.best(masks, candidate) }
        }
    }

    /** How well each label describes an image, as probabilities in the order of the labels. */
    @Synchronized
    fun classify(rgbImage: RgbImage, labels: List<String>): List<LabelShare> {
        val asked = this.labels.ask(labels)
        val seen = embedImage(rgbImage)
        val logits = asked.map { label -> manifest.logitScale * label.texts.maxOf { dot(it, seen) } }
        val odds = logits.map { exp(it - logits.max()) }
        return asked.zip(odds) { label, odd -> LabelShare(label.label, (odd / odds.sum()).toFloat(), label.readAs) }
    }

    /** Where each label is, without masks: cheap even for the thousand labels of a pack. */
    @Synchronized
    fun scoreMaps(image: EncodedImage, labels: List<String>): List<ScoreMap> {
        check(image)
        return maps(image, this.labels.ask(labels))
    }

    private fun maps(image: EncodedImage, asked: List<AskedLabel>): List<ScoreMap> {
        val patches = patches(image)
        return asked.map { map(image, patches, it) }
    }

    private fun map(image: EncodedImage, patches: List<FloatArray>, label: AskedLabel): ScoreMap {
        val logits = FloatArray(patches.size) { place ->
            manifest.calibration.logit(label.texts.maxOf { dot(patches[place], it) })
        }
        return ScoreMap(logits, gridSide(patches), image.frame)
    }

    private fun patches(image: EncodedImage): List<FloatArray> {
        val flat = head(image, "patch_embeddings")
        val width = manifest.embedDim
        val patches = List(flat.size / width) { flat.copyOfRange(it * width, (it + 1) * width) }
        return wholePatches(patches, image.tokens.sides, image.frame.resolution / manifest.patchSize)
    }

    /** Embeds an image in the space that it shares with texts: a vector of unit length. */
    @Synchronized
    fun embedImage(rgbImage: RgbImage): FloatArray = head(encode(rgbImage, manifest.classification), "image_embedding")

    /** Embeds texts as they are, such as captions or queries: vectors of unit length. */
    @Synchronized
    fun embedText(texts: List<String>): List<FloatArray> {
        Labels.checkTexts(texts)
        val ids = tokenizer.batch(texts)
        val flat = run("text_encoder", mapOf("input_ids" to ids), "text_embeddings").floats("text_embeddings").data
        return texts.indices.map { flat.copyOfRange(it * manifest.embedDim, (it + 1) * manifest.embedDim) }
    }

    /**
     * Embeds names of things, each put into the templates of the bundle, as the words that they are read as; each is
     * computed once. A general word that several words answer for has no embedding.
     */
    @Synchronized
    fun embedLabels(labels: List<String>): List<FloatArray> = this.labels.single(labels)

    /**
     * Learns the labels of a pack in the bundle, such as `nouns.safetensors`, with its thresholds and what it tells of
     * them; returns them.
     */
    @Synchronized
    fun loadLabels(path: String): List<String> = loadLabels(bundle.read(path), path)

    /** Learns the labels of a pack from its content; [name] stands for it in messages. */
    @Synchronized
    fun loadLabels(content: ByteArray, name: String): List<String> {
        val pack = LabelPack.read(content, name, manifest)
        labels.learn(pack)
        return pack.labels
    }

    /** Frees the graphs; what is needed later is opened again. */
    @Synchronized
    override fun close() {
        graphs.values.forEach { it.close() }
        graphs.clear()
    }

    @Synchronized
    private fun encode(rgbImage: RgbImage, resolution: Int): EncodedImage {
        val frame = Frame(rgbImage.width, rgbImage.height, resolution)
        val square = square(rgbImage, frame)
        val seen = if (needsPadding) square else upperLeft(square, coveredPixels(frame))
        val found = run("image_encoder@$resolution", mapOf("image" to seen), "image_tokens", "image_embeddings")
        return EncodedImage(frame, found.floats("image_tokens"), found.floats("image_embeddings"), bundle.id)
    }

    /** The model's whole input, uint8 [1,3,S,S]. */
    internal fun square(rgbImage: RgbImage, frame: Frame): Tensor {
        val name = "letterbox@${frame.resolution}"
        val side = frame.resolution.toLong()
        if (!bundle.hasGraph(name)) {
            return Tensor.U8(Letterbox.square(rgbImage, frame, manifest.padColour), 1, 3, side, side)
        }
        val pixels = Tensor.U8(rgbImage.rgb, rgbImage.height.toLong(), rgbImage.width.toLong(), 3)
        return run(name, mapOf("picture" to pixels), "image").getValue("image")
    }

    /** The prompt encoder and the mask decoder; four masks of each prompt, which end at its box. */
    internal fun decode(image: EncodedImage, prompts: List<Prompt>): Map<String, Tensor> {
        val tokens = PromptTokens(prompts, image.frame, manifest.maskSide)
        val decoded = decode(image, tokens.feed)
        manifest.calibration.boxMargin?.let { tokens.keepInBoxes(decoded.floats("low_res_masks").data, it) }
        return decoded
    }

    private fun decode(image: EncodedImage, feed: Map<String, Tensor>): Map<String, Tensor> {
        val encoded = run("prompt_encoder", feed, "sparse_embeddings", "sparse_mask", "dense_embeddings")
        val dense = upperLeft(encoded.getValue("dense_embeddings"), image.embeddings.sides)
        val seen = encoded + mapOf("dense_embeddings" to dense, "image_embeddings" to image.embeddings)
        val decoded = run("mask_decoder", seen, "low_res_masks", "iou_predictions")
        return decoded + ("low_res_masks" to wholeMasks(decoded.floats("low_res_masks"), manifest.maskSide))
    }

    internal fun run(name: String, feed: Map<String, Tensor>, vararg outputs: String): Map<String, Tensor> {
        val kept = if (name.startsWith("letterbox@")) "fp32" else precision // it has one file, for every precision
        val graph = graphs.getOrPut(name) { backend.open(bundle.graphFile(name, kept), bundle.spec(name)) }
        return graph.run(feed, outputs.asList())
    }

    private fun head(image: EncodedImage, output: String): FloatArray {
        val mask = upperLeft(image.frame.tokenMask(manifest.patchSize), image.tokens.sides)
        val feed = mapOf("image_tokens" to image.tokens, "token_mask" to mask)
        return run("clip_head@${image.frame.resolution}", feed, output).floats(output).data
    }

    private fun textMask(asked: AskedLabel, drawn: DrawnText, frame: Frame): TextMask {
        val logits = drawn.logits
        val mask = if (logits == null) Mask.empty(frame) else Mask.ofModel(logits, frame, manifest.maskThreshold)
        return TextMask(asked.label, logits != null, drawn.presence, drawn.score, mask, asked.readAs)
    }

    private fun promptMask(drawn: DrawnMask, prompt: Int, frame: Frame): PromptMask {
        val mask = Mask.ofLowResolution(drawn.logits, manifest.maskSide, frame, manifest.maskThreshold)
        return PromptMask(prompt, drawn.predictedIou, mask, drawn.logits)
    }

    private fun rows(vectors: List<FloatArray>): Tensor.F32 {
        val width = manifest.embedDim
        return Tensor.F32(
            FloatArray(vectors.size * width) { vectors[it / width][it % width] },
            vectors.size.toLong(), width.toLong(),
        )
    }

    private fun check(image: EncodedImage) {
        if (image.bundleId != bundle.id || (needsPadding && !image.tokens.sides.square)) {
            throw EmbeddingMismatchException("the image was encoded by another model: encode it again with this one")
        }
    }

    private fun checkShare(name: String, value: Float?) {
        if (value != null && value !in 0f..1f) throw PromptException("$name is $value; it must be from 0 to 1")
    }

    companion object {
        /** Opens the bundle in [folder] on a runtime; [precision] is fp32, fp16 or int8. */
        fun load(folder: File, backend: Backend, precision: String = "fp32"): SamClip =
            SamClip(Bundle(folder, backend.runtime), backend, precision)
    }
}

/** An image after the image encoder; its maps lack the padding if the model needs none. */
class EncodedImage internal constructor(
    val frame: Frame,
    internal val tokens: Tensor.F32,
    internal val embeddings: Tensor.F32,
    internal val bundleId: String,
)

/**
 * A label in an image: whether it is there, by its presence (0..1), and its mask.
 *
 * The score is the mask's IoU as the model expects it; it means nothing if the label is not there. If the label is read
 * as another word, or is not known, [readAs] tells it.
 */
class TextMask internal constructor(
    val label: String,
    val present: Boolean,
    val presence: Float,
    val score: Float,
    val mask: Mask,
    val readAs: Reading? = null,
)

/** A label, and its share in a softmax over all that were asked; what it is read as, if that must be told. */
class LabelShare internal constructor(val label: String, val probability: Float, val readAs: Reading?)

/** A mask of a prompt, by its place; [lowResolution] may be the mask prompt of the next question. */
class PromptMask internal constructor(
    val prompt: Int,
    val score: Float,
    val mask: Mask,
    val lowResolution: FloatArray,
)
