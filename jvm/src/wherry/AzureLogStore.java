package wherry;

import java.io.IOException;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/** Delta's log in a storage account, its commits signed. */
public class AzureLogStore extends io.delta.storage.AzureLogStore {
  public AzureLogStore(Configuration conf) {
    super(conf);
  }

  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration conf)
      throws IOException {
    super.write(path, Signature.sign(actions), overwrite, conf);
  }
}
