package wherry;

import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.URI;
import java.util.EnumSet;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.CreateFlag;
import org.apache.hadoop.fs.DelegateToFileSystem;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.util.Progressable;

/**
 * The file system behind {@code dbfs:/} and, as {@code fs.defaultFS}, behind bare paths: {@code
 * /Volumes/…}, {@code /Workspace/…}, {@code /dbfs/…} and everything else below the DBFS root, each
 * a folder of the machine named by {@code wherry.root.*}.
 *
 * <p>A path keeps the form in which it was asked for ({@code dbfs:/dbfs/x} and {@code dbfs:/x} are
 * the same file, but a listing of the one never answers with the other), because Delta compares the
 * paths that it listed with the one that it was given.
 */
public class DbfsFileSystem extends FileSystem {
  private static final URI ROOT = URI.create("dbfs:///");

  private final RawLocalFileSystem local = new RawLocalFileSystem();
  private Path workingDirectory = new Path("dbfs:/");
  private String dbfs;
  private String volumes;
  private String workspace;
  private String managed;

  @Override
  public String getScheme() {
    return "dbfs";
  }

  @Override
  public URI getUri() {
    return ROOT;
  }

  @Override
  public void initialize(URI name, Configuration conf) throws IOException {
    super.initialize(name, conf);
    setConf(conf);
    local.initialize(URI.create("file:///"), conf);
    dbfs = conf.get("wherry.root.dbfs", "/dbfs");
    volumes = conf.get("wherry.root.volumes", "/Volumes");
    workspace = conf.get("wherry.root.workspace", "/Workspace");
    managed = conf.get("wherry.root.managed", "/run/wherry/managed");
  }

  /** Any path is ours, whatever its authority: {@code dbfs://x/y} is seen in the wild. */
  @Override
  protected void checkPath(Path path) {}

  /** The file of the machine that holds the path. */
  public File file(Path path) {
    return new File(resolve(path).toUri().getPath());
  }

  private Path absolute(Path path) {
    Path full = path.isAbsolute() ? path : new Path(workingDirectory, path);
    return new Path("dbfs", null, full.toUri().getPath());
  }

  private Path resolve(Path path) {
    String p = absolute(path).toUri().getPath();
    // The POSIX spelling /dbfs/x is dbfs:/x.
    if (p.equals("/dbfs") || p.startsWith("/dbfs/")) {
      p = p.length() == 5 ? "/" : p.substring(5);
    }
    return new Path("file", null, onDisk(p));
  }

  private String onDisk(String p) {
    String[][] mounts = {
      {"/Volumes", volumes}, {"/Workspace", workspace}, {"/__unitystorage", managed}
    };
    for (String[] m : mounts) {
      if (p.equals(m[0]) || p.startsWith(m[0] + "/")) {
        return m[1] + p.substring(m[0].length());
      }
    }
    return dbfs + p;
  }

  @Override
  public FSDataInputStream open(Path path, int bufferSize) throws IOException {
    return local.open(resolve(path), bufferSize);
  }

  @Override
  public FSDataOutputStream create(
      Path path,
      FsPermission permission,
      boolean overwrite,
      int bufferSize,
      short replication,
      long blockSize,
      Progressable progress)
      throws IOException {
    Path target = resolve(path);
    local.mkdirs(target.getParent());
    return local.create(target, overwrite, bufferSize, replication, blockSize, progress);
  }

  @Override
  public FSDataOutputStream createNonRecursive(
      Path path,
      FsPermission permission,
      EnumSet<CreateFlag> flags,
      int bufferSize,
      short replication,
      long blockSize,
      Progressable progress)
      throws IOException {
    boolean overwrite = flags.contains(CreateFlag.OVERWRITE);
    return create(path, permission, overwrite, bufferSize, replication, blockSize, progress);
  }

  @Override
  public FSDataOutputStream append(Path path, int bufferSize, Progressable progress)
      throws IOException {
    return local.append(resolve(path), bufferSize, progress);
  }

  @Override
  public boolean rename(Path from, Path to) throws IOException {
    return local.rename(resolve(from), resolve(to));
  }

  @Override
  public boolean delete(Path path, boolean recursive) throws IOException {
    return local.delete(resolve(path), recursive);
  }

  @Override
  public FileStatus[] listStatus(Path path) throws IOException {
    Path asked = absolute(path);
    FileStatus[] found = local.listStatus(resolve(path));
    boolean isFile = found.length == 1 && found[0].isFile() && file(path).isFile();
    FileStatus[] result = new FileStatus[found.length];
    for (int i = 0; i < found.length; i++) {
      result[i] = status(found[i], isFile ? asked : new Path(asked, found[i].getPath().getName()));
    }
    return result;
  }

  @Override
  public FileStatus getFileStatus(Path path) throws IOException {
    try {
      return status(local.getFileStatus(resolve(path)), absolute(path));
    } catch (FileNotFoundException e) {
      // The path as the caller knows it, not where it lies on this machine.
      throw new FileNotFoundException("No such file or directory: " + absolute(path));
    }
  }

  private static FileStatus status(FileStatus s, Path shown) {
    return new FileStatus(
        s.getLen(),
        s.isDirectory(),
        1,
        s.getBlockSize(),
        s.getModificationTime(),
        0,
        null,
        "wherry",
        "wherry",
        shown);
  }

  @Override
  public boolean mkdirs(Path path, FsPermission permission) throws IOException {
    return local.mkdirs(resolve(path));
  }

  @Override
  public void setTimes(Path path, long mtime, long atime) throws IOException {
    local.setTimes(resolve(path), mtime, atime);
  }

  @Override
  public void setWorkingDirectory(Path path) {
    workingDirectory = absolute(path);
  }

  @Override
  public Path getWorkingDirectory() {
    return workingDirectory;
  }

  /** The same for Hadoop's FileContext, which streaming checkpoints use. */
  public static class Abs extends DelegateToFileSystem {
    public Abs(URI uri, Configuration conf) throws Exception {
      super(uri, new DbfsFileSystem(), conf, "dbfs", false);
    }

    @Override
    public int getUriDefaultPort() {
      return -1;
    }
  }
}
