package samclip

import java.io.File
import java.io.IOException
import java.security.MessageDigest

/** A bundle's folder, with the graphs of a runtime; every file is checked against the manifest before it is used. */
internal class Bundle(private val folder: File, private val runtime: String = "onnx") {
    private val content: ByteArray = readFile("manifest.json")
    private val checked = HashSet<String>()

    val manifest = Manifest(Json.parse(content.decodeToString(), "manifest.json"))

    /** The first 16 digits of the manifest's sha256: what tells one bundle from another. */
    val id: String = hex(MessageDigest.getInstance("SHA-256").digest(content)).take(16)

    /** Whether a graph is there, for the runtime. */
    fun hasGraph(name: String): Boolean = artifacts(name).isNotEmpty()

    /** Whether a file that belongs to no graph is there: the manifest lists it, and the app brought it. */
    fun has(path: String): Boolean = path in manifest.files && file(path).exists()

    /** The inputs and outputs of a graph that is there. */
    fun spec(name: String): GraphSpec = manifest.graphs.getValue(name).spec

    /** The file of a graph, once it and its weights are checked. */
    fun graphFile(name: String, precision: String): File {
        val artifacts = artifacts(name)
        if (artifacts.isEmpty()) {
            val others = manifest.graphs.keys.filter(::hasGraph).ifEmpty { listOf("none") }.joinToString()
            throw BundleException("the bundle has no graph $name for $runtime, which this needs; it has $others")
        }
        val artifact = artifacts.find { it.precision == precision } ?: throw BundleException(
            "the graph $name is not there in $precision; choose one of ${artifacts.joinToString { it.precision }}",
        )
        artifact.files.forEach { (path, sha256) -> check(path, sha256) }
        return file(artifact.path)
    }

    /** The content of a file that belongs to no graph. */
    fun read(path: String): ByteArray {
        val sha256 = manifest.files[path]
            ?: throw BundleException("the bundle has no file $path; it has ${manifest.files.keys.joinToString()}")
        check(path, sha256)
        return readFile(path)
    }

    private fun artifacts(name: String) =
        manifest.graphs[name]?.artifacts.orEmpty().filter { it.runtime == runtime }

    private fun check(path: String, sha256: String) {
        if (path in checked) return
        val digest = MessageDigest.getInstance("SHA-256")
        val buffer = ByteArray(1 shl 16)
        reading(path) {
            file(path).inputStream().use { stream ->
                generateSequence { stream.read(buffer) }.takeWhile { it >= 0 }.forEach { digest.update(buffer, 0, it) }
            }
        }
        if (hex(digest.digest()) != sha256) {
            throw BundleTamperedException("$path is not the file that the manifest names: copy the bundle again")
        }
        checked += path
    }

    private fun readFile(path: String): ByteArray = reading(path) { file(path).readBytes() }

    private fun <T> reading(path: String, read: () -> T): T =
        try {
            read()
        } catch (error: IOException) {
            throw BundleException("cannot read $path in the bundle $folder: copy the whole bundle there", error)
        }

    private fun file(path: String): File {
        if (path.startsWith("/") || '\\' in path || ".." in path.split("/")) {
            throw BundleSchemaException("the path $path leads out of the bundle")
        }
        return File(folder, path)
    }

    private fun hex(digest: ByteArray) = digest.joinToString("") { "%02x".format(it) }
}
